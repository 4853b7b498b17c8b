"""The demo as a user runs it: it proves what it says, fails when that is not so, and leaves nothing behind."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.client import Status

from . import demo, demo_jobs
from .daemon_process import members_of
from .demo_proof import Ended, proofs
from .demo_web import Answer, Hook

RUN = [sys.executable, str(demo.ROOT / "tests" / "demo.py")]
SPOILED = """\
import gzip, sys
from tests import demo
def spoil(folder):
    first = sorted(folder.glob("*.gz"))[0]
    first.write_bytes(gzip.compress(gzip.decompress(first.read_bytes()) + b"!"))
sys.exit(demo.run(12, spoil))
"""


def folder_in(output: str) -> Path:
    """Return the temporary folder that the demo named."""
    found = re.search(r"^in (/\S+): ", output, re.MULTILINE)
    assert found, output
    return Path(found[1])


@pytest.mark.slow
def test_the_demo_proves_what_it_says_and_names_what_to_type_next(tmp_path: Path) -> None:
    done = subprocess.run(RUN, capture_output=True, text=True, timeout=120, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert not [line for line in lines if line.startswith("FAILED")]
    assert len([line for line in lines if line.startswith("proven  200 files: ")]) == 4
    outcomes = next(line for line in lines if line.startswith("outcomes"))
    assert sorted(outcomes.removeprefix("outcomes").strip().split(", ")) == ["1 failed", "1 timed_out", "201 succeeded"]
    typed = [line.split() for line in lines[lines.index("Type next:") + 1 :]]
    assert [words[1] for words in typed] == ["serve", "submit", "doctor"]
    assert not folder_in(done.stdout).exists()


@pytest.mark.slow
def test_the_demo_fails_when_an_output_is_not_its_file() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SPOILED], capture_output=True, text=True, timeout=120, cwd=demo.ROOT, check=False
    )
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    assert (done.returncode, len(failed)) == (1, 1), done.stdout + done.stderr
    assert "unpacked, the output is the file" in failed[0]
    assert "NOT ALL OF IT HOLDS" in done.stdout and "Type next" not in done.stdout
    assert not folder_in(done.stdout).exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_leaves_nothing_behind_when_it_is_ended_half_way(number: signal.Signals) -> None:
    process = subprocess.Popen(RUN, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        output = ""
        while "the web server is" not in output:
            line = process.stdout.readline()
            assert line, output
            output += line
        folder = folder_in(output)
        web = int(re.findall(r"web server is (\d+)", output)[0])
        instance = (folder / "state" / "instance").read_text().strip()
        assert len(members_of(instance)) >= 2
        process.send_signal(number)
        assert (process.wait(60), process.stderr and process.stderr.read()) == (
            demo.INTERRUPTED, "\nended before its time; nothing was left behind\n",
        )  # fmt: skip
    assert (members_of(instance), folder.exists(), os.path.exists(f"/proc/{web}")) == ([], False, False)


# -- the proofs, each with what must make it fail --------------------------------------------------------------------


class Scene:
    """Three files as a perfect run leaves them, for a test to spoil."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "output"
        self.folder.mkdir()
        self.answers: list[Answer] = []
        self.ended: list[Ended] = []
        for name in ("a.py", "b.py", "c.py"):
            (folder / name).write_text(f"# {name}\n" * 50)
            self.add(Hook("file", name, folder / name))
        self.known = 3

    def add(self, hook: Hook) -> None:
        assert hook.source is not None
        body = hook.source.read_bytes()
        answer = Answer(hook, 200, f"id of {hook.name}", "sent", 0.001, 0.00001, 0.0)
        result = demo_jobs.pack(str(self.folder), hook.name, body)
        self.answers.append(answer)
        self.ended.append(Ended(answer, ended_with("succeeded", 1), result, b""))

    def replace(self, place: int, **changes: Any) -> None:
        self.ended[place] = self.ended[place]._replace(**changes)

    def against(self) -> list[str]:
        return [line for proof in proofs(self.answers, self.ended, self.folder, self.known) for line in proof.against]


def ended_with(outcome: str, attempts: int, **attempt: object) -> Status:
    return Status({"outcome": outcome, "attempts": [{"number": n + 1, **attempt} for n in range(attempts)]})


def change_output(scene: Scene) -> None:
    (scene.folder / "b.py.gz").write_bytes(gzip.compress(b"# something else\n"))


def cut_output(scene: Scene) -> None:
    path = scene.folder / "b.py.gz"
    path.write_bytes(path.read_bytes()[:-9])


def lose_output(scene: Scene) -> None:
    (scene.folder / "b.py.gz").unlink()


def add_output(scene: Scene) -> None:
    (scene.folder / "b.py.gz.2").touch()


def run_twice(scene: Scene) -> None:
    with open(scene.folder / demo_jobs.LEDGER, "a") as ledger:
        ledger.write("b.py\n")


def never_run(scene: Scene) -> None:
    (scene.folder / demo_jobs.LEDGER).write_text("a.py\nc.py\n")


def return_another_hash(scene: Scene) -> None:
    scene.replace(1, result={"sha256": hashlib.sha256(b"else").hexdigest()})


def try_again(scene: Scene) -> None:
    scene.replace(1, status=ended_with("succeeded", 2))


def fail(scene: Scene) -> None:
    scene.replace(1, status=ended_with("failed", 1))


def refuse(scene: Scene) -> None:
    scene.answers[1] = scene.answers[1]._replace(code=500)


def lose_job(scene: Scene) -> None:
    del scene.ended[1]


def answer_one_id_twice(scene: Scene) -> None:
    scene.answers[1] = scene.answers[1]._replace(id=scene.answers[0].id)


def store_one_more(scene: Scene) -> None:
    scene.known += 1


def test_a_perfect_run_has_nothing_against_it(tmp_path: Path) -> None:
    assert Scene(tmp_path).against() == []


@pytest.mark.parametrize(
    "spoil",
    [
        change_output, cut_output, lose_output, add_output, run_twice, never_run, return_another_hash, try_again, fail,
        refuse, lose_job, answer_one_id_twice, store_one_more,
    ],
)  # fmt: skip
def test_what_is_not_perfect_is_found(tmp_path: Path, spoil: Callable[[Scene], None]) -> None:
    scene = Scene(tmp_path)
    spoil(scene)
    assert scene.against()


@pytest.mark.parametrize(
    ("kind", "status", "output"),
    [
        ("crash", ended_with("succeeded", 1), b""),
        ("crash", ended_with("failed", 1, signal=9), b""),
        ("hang", ended_with("failed", 1), b""),
        ("hang", ended_with("timed_out", 1, survivors=0), b""),
        ("flood", ended_with("succeeded", 1, dropped=0), b"x\nthe last line\n"),
        ("flood", ended_with("succeeded", 1, dropped=0), b"something else"),
    ],
)
def test_a_bad_job_that_ends_as_a_good_one_is_found(tmp_path: Path, kind: str, status: Status, output: bytes) -> None:
    scene = Scene(tmp_path)
    answer = Answer(Hook(kind, kind), 200, f"id of {kind}", "sent", 0.0, 0.0, 0.0)
    scene.answers.append(answer)
    scene.ended.append(Ended(answer, status, None, output))
    scene.known += 1
    assert scene.against()
