"""The words: messages, answers, hand-offs, and that the document says what the code does."""

from __future__ import annotations

import math
import random
import re
from pathlib import Path

import pytest

from sidecar import descriptor, wire
from sidecar.config import Limits
from sidecar.descriptor import FIELDS, MAX_TEXT, YEAR, job_id, parse_job
from sidecar.errors import BY_CODE, BadFrame, BadRequest, NotFound, SidecarError
from sidecar.job import Outcome, State
from sidecar.policy import GRACE, TIMEOUT
from sidecar.protocol import (
    VERBS,
    RequestError,
    noticed,
    parse_handoff,
    parse_report,
    parse_request,
    refused,
    replied,
    seconds_or_none,
)

from .test_descriptor import NOW
from .test_wire import hostile

# Requests, replies, hand-offs.


@pytest.mark.parametrize("verb", VERBS)
def test_a_request_is_number_verb_and_params(verb: str) -> None:
    assert parse_request([0, 7, verb, [1, 2]]) == (7, verb, [1, 2])


@pytest.mark.parametrize("number", [0, 2**32 - 1])
def test_a_request_number_has_32_bits(number: int) -> None:
    assert parse_request([0, number, "ping", []])[0] == number


@pytest.mark.parametrize(
    "message",
    [None, 7, "ping", {}, [], [0], [0, 1, "ping"], [0, 1, "ping", [], 1], [1, 1, None, None], [2, "submit", [{}]],
     [0, -1, "ping", []], [0, 2**32, "ping", []], [0, "1", "ping", []], [0, None, "ping", []], [0, 1.0, "ping", []],
     [0, True, "ping", []], ["0", 1, "ping", []]],
    ids=repr,
)  # fmt: skip
def test_what_is_no_request_is_a_bad_frame(message: object) -> None:
    with pytest.raises(BadFrame, match="cannot read message"):
        parse_request(message)


@pytest.mark.parametrize(
    "message",
    [[0, 7, "explode", []], [0, 7, None, []], [0, 7, ["ping"], []], [0, 7, {}, []], [0, 7, "ping", {}],
     [0, 7, "ping", None], [0, 7, "PING", []]],
    ids=repr,
)  # fmt: skip
def test_a_request_that_can_be_answered_is_refused_under_its_number(message: object) -> None:
    with pytest.raises(RequestError) as raised:
        parse_request(message)
    assert (raised.value.number, raised.value.code) == (7, "bad_request")


def test_a_hand_off_carries_one_job_unchecked() -> None:
    assert parse_handoff([2, "submit", ["anything"]]) == "anything"


@pytest.mark.parametrize(
    "message",
    [None, {}, [], [2], [2, "submit"], [2, "submit", []], [2, "submit", [1, 2]], [2, "submit", {}],
     [2, "submit", [1], 1], [0, "submit", [1]], [2, "cancel", [1]], [0, 1, "submit", [1]], [2, ["submit"], [1]]],
    ids=repr,
)  # fmt: skip
def test_what_is_no_hand_off_is_a_bad_frame(message: object) -> None:
    with pytest.raises(BadFrame, match="cannot read datagram"):
        parse_handoff(message)


@pytest.mark.parametrize(
    ("said", "taken"),
    [(False, False), (0, 0), (2.5, 2.5)] + [(bad, None) for bad in (True, -1, "1", math.nan, math.inf, YEAR + 1)],
)
def test_what_a_report_says_of_the_next_try_is_no_or_seconds(said: object, taken: object) -> None:
    error = {"type": "E", "message": "m", "traceback": ""}
    report = parse_report(wire.pack({"error": error, "retry": said}))
    assert report == ({"error": error} if taken is None else {"error": error, "retry": taken})
    assert "retry" not in parse_report(wire.pack({"result": b"\xc0", "retry": said}))


def test_replies_and_notices_have_their_shapes() -> None:
    assert replied(7, {"a": 1}) == [1, 7, None, {"a": 1}]
    assert refused(7, NotFound("gone")) == [1, 7, {"code": "not_found", "message": "gone"}, None]
    assert refused(None, BadFrame("what")) == [1, None, {"code": "bad_frame", "message": "what"}, None]
    assert noticed("output", ["id", 1, b""]) == [2, "output", ["id", 1, b""]]


@pytest.mark.parametrize(("given", "seconds"), [(None, None), (0, 0.0), (1.5, 1.5), (10**9, 1e9)])
def test_a_wait_has_seconds_or_no_end(given: object, seconds: float | None) -> None:
    assert seconds_or_none(given, "timeout") == seconds


@pytest.mark.parametrize("given", [-1, math.nan, math.inf, "1", True, [1]])
def test_any_other_wait_is_refused(given: object) -> None:
    with pytest.raises(BadRequest, match="cannot wait: timeout is"):
        seconds_or_none(given, "timeout")


def test_random_bytes_are_requests_or_errors_with_a_code_and_nothing_else() -> None:
    dice = random.Random(2)
    for _ in range(10_000):
        data = hostile(dice)
        for parse in (parse_request, parse_handoff, lambda value: parse_job(parse_handoff(value), 0, NOW), job_id):
            try:
                parse(wire.unpack(data))
            except SidecarError as error:
                assert error.code in ("bad_frame", "bad_request")


# The document.

DOCUMENT = (Path(__file__).parent.parent / "clients" / "PROTOCOL.md").read_text()


def section(title: str) -> str:
    """Return the text under a heading, up to the next one of the second level."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert found, f"PROTOCOL.md has no section {title!r}"
    return found[1]


def first_table(text: str) -> list[str]:
    """Return the words in backticks that begin the rows of the first table in a text."""
    table = re.search(r"(^\|.*\n)+", text, re.MULTILINE)
    assert table
    return re.findall(r"^\| `([^`]+)` +\|", table[0], re.MULTILINE)


def test_the_document_has_every_field_of_a_job_and_no_other() -> None:
    assert first_table(section("The job map")) == list(FIELDS)


def test_the_document_has_every_field_of_a_runtime_record_and_no_other() -> None:
    assert first_table(section("The runtime record")) == list(descriptor._RUNTIME)


def test_the_document_has_every_verb_and_no_other() -> None:
    assert re.findall(r"^### `(\w+)", section("The verbs"), re.MULTILINE) == list(VERBS)


def test_the_document_has_every_error_and_no_other() -> None:
    assert sorted(first_table(section("Errors"))) == sorted(BY_CODE)


def test_the_document_has_every_state_and_outcome() -> None:
    assert set(State) | set(Outcome) <= set(re.findall(r"`(\w+)`", section("The life of a job")))


@pytest.mark.parametrize(
    "said",
    [
        f"{wire.MAX_DEPTH} levels",
        f"{wire.MAX_ARRAY:,} elements",
        f"{wire.MAX_MAP:,} entries",
        f"{Limits().job // 1024 // 1024} MiB",
        f"| {TIMEOUT:g} |",
        f"| {GRACE:g} |",
        f"{MAX_TEXT:,} characters",
        f"up to {YEAR:,.0f} (366 days)",
        f"up to {10 * YEAR:,.0f}",
    ],
)
def test_the_document_has_the_limits_of_the_code(said: str) -> None:
    assert said in DOCUMENT


def shown(value: object) -> str:
    """Write a value the way the document does."""
    if isinstance(value, bytes):
        return f"bin({value.hex()})"
    if isinstance(value, list):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{shown(key)}: {shown(item)}' for key, item in value.items())}}}"
    if isinstance(value, str):
        return f'"{value}"'
    return "nil" if value is None else str(value)


TRANSCRIPTS = re.findall(r"^`(\S.*)`\n\n```\n([^`]*)```", DOCUMENT, re.MULTILINE)


@pytest.mark.parametrize(("said", "block"), TRANSCRIPTS, ids=[said[:40] for said, _ in TRANSCRIPTS])
def test_a_transcript_says_what_its_bytes_say(said: str, block: str) -> None:
    columns = [re.match(r" *((?:[0-9a-f]{2} )*[0-9a-f]{2})(?:  |$)", line) for line in block.splitlines()]
    data = bytes.fromhex("".join(column[1] for column in columns if column))
    framer = wire.Framer(Limits().job)
    frames = framer.feed(data) if data[0] == 0 else [data]
    assert framer.pending == 0
    assert [shown(wire.unpack(frame)) for frame in frames] == [said]


def test_there_are_transcripts() -> None:
    assert len(TRANSCRIPTS) >= 6
