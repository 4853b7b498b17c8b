"""The demo's proof: everything compared with what is computed here, from the original files, without sidecar.

Each proof is a sentence and what speaks against it; with nothing against it, it holds. Pure but for reading files.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sidecar.client import Handle, Status

from .demo_jobs import LEDGER
from .demo_web import FLOOD, Answer

WANTED = {"crash": "failed", "hang": "timed_out", "flood": "succeeded", "file": "succeeded"}
_PATIENCE = 60.0  # seconds; the longest job takes about two


class Ended(NamedTuple):
    """One webhook's answer, and what became of its job."""

    answer: Answer
    status: Status
    result: Any
    output: bytes


class Proof(NamedTuple):
    """A claim, and what speaks against it."""

    claim: str
    against: list[str]


def wait_end(answer: Answer) -> Ended:
    """Wait for the end of the job that an answer names, and fetch what is known of it."""
    handle = Handle(answer.id)
    status = handle.wait(timeout=_PATIENCE)
    result = handle.result() if status.outcome == "succeeded" else None
    return Ended(answer, status, result, handle.output())


def proofs(answers: list[Answer], ended: list[Ended], folder: Path, known: int) -> list[Proof]:
    """Prove all of it; `known` is how many jobs the daemon has in its store."""
    files = [answer for answer in answers if answer.hook.source]
    jobs = {each.answer.hook.name: each for each in ended}
    packed = [jobs[answer.hook.name] for answer in files if answer.hook.name in jobs]
    of = f"{len(files)} files:"
    return [
        Proof("every request was answered 200, with the id of a job of its own", [*_answers(answers, known)]),
        Proof(f"{of} the job succeeded, attempts = 1", [*_attempts(files, jobs)]),
        Proof(f"{of} the job returned the SHA-256 that is computed here", [*_results(packed)]),
        Proof(f"{of} unpacked, the output is the file; there is no other output", [*_outputs(files, folder)]),
        Proof(f"{of} one line each in the ledger that the jobs write", [*_ledger(files, folder)]),
        Proof("the crash, the hang and the flood ended as such, and nothing else did", [*_outcomes(ended)]),
    ]


def _answers(answers: list[Answer], known: int) -> Iterator[str]:
    yield from (f"{answer.hook.name}: answered {answer.code}" for answer in answers if answer.code != 200)
    different = len({answer.id for answer in answers})
    if not different == len(answers) == known:
        yield f"{len(answers)} requests, {different} ids, {known} jobs in the store"


def _attempts(files: Iterable[Answer], jobs: Mapping[str, Ended]) -> Iterator[str]:
    for name in (answer.hook.name for answer in files):
        if name not in jobs:
            yield f"{name}: no job"
        elif jobs[name].status.outcome != "succeeded" or len(jobs[name].status.attempts) != 1:
            yield f"{name}: {jobs[name].status.outcome}, {len(jobs[name].status.attempts)} attempts"


def _results(packed: Iterable[Ended]) -> Iterator[str]:
    for each in packed:
        wanted, got = _digest(_source(each.answer)), (each.result or {}).get("sha256")
        if got != wanted:
            yield f"{each.answer.hook.name}: {got}, not {wanted}"


def _outputs(files: list[Answer], folder: Path) -> Iterator[str]:
    for each in files:
        try:
            got = _digest(gzip.decompress((folder / f"{each.hook.name}.gz").read_bytes()))
        except (OSError, EOFError, zlib.error) as error:
            yield f"{each.hook.name}: {error}"
            continue
        if got != _digest(_source(each)):
            yield f"{each.hook.name}.gz: holds something else"
    expected = {f"{each.hook.name}.gz" for each in files} | {LEDGER}
    yield from sorted(f"{path.name}: nobody asked for it" for path in folder.iterdir() if path.name not in expected)


def _ledger(files: Iterable[Answer], folder: Path) -> Iterator[str]:
    runs = Counter((folder / LEDGER).read_text().splitlines())
    wanted = Counter(each.hook.name for each in files)
    yield from (f"{name}: begun {runs[name]} times" for name in runs | wanted if runs[name] != wanted[name])


def _outcomes(ended: Iterable[Ended]) -> Iterator[str]:
    for each in ended:
        kind, outcome = each.answer.hook.kind, each.status.outcome
        if outcome != WANTED[kind]:
            yield f"{each.answer.hook.name}: {outcome}, not {WANTED[kind]}"
        elif kind == "crash" and each.status.attempts[0].signal != 11:
            yield f"crash: signal {each.status.attempts[0].signal}, not 11"
        elif kind == "hang" and each.status.attempts[0].survivors != 1:
            yield f"hang: {each.status.attempts[0].survivors} helpers ended with it, not 1"
        elif kind == "flood":
            yield from _flood(each)


def _flood(ended: Ended) -> Iterator[str]:
    if not ended.output.endswith(b"x\nthe last line\n"):
        yield f"flood: its output ends with {ended.output[-20:]!r}"
    written = len(ended.output) + ended.status.attempts[0].dropped
    if written != FLOOD + len(b"the last line\n"):
        yield f"flood: {written} bytes kept or counted, not {FLOOD} and a line"


def _source(answer: Answer) -> bytes:
    assert answer.hook.source is not None
    return answer.hook.source.read_bytes()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
