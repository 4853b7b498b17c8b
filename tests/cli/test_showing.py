"""Values as people and programs read them."""

from __future__ import annotations

import json

import pytest

from sidecar.cli import showing

from .stub import failed, job


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0008, "0.8 ms"), (0.0877654, "87.76 ms"), (0.99999, "999.99 ms"), (1, "1 s"), (3.25, "3.2 s"),
        (59.99, "59.9 s"), (60, "1 min"), (125, "2 min 5 s"), (3599.9, "59 min 59 s"), (12000, "3 h 20 min"),
        (86400, "1 d"), (4 * 86400 + 7200, "4 d 2 h"),
    ],
)  # fmt: skip
def test_a_duration_is_said_in_the_two_largest_units(seconds: float, text: str) -> None:
    assert showing.duration(seconds) == text


@pytest.mark.parametrize(
    ("instant", "text"),
    [(None, "-"), (99.5, "now"), (97, "3 s ago"), (28, "1 min ago"), (110, "in 10 s"), (100 + 7200, "in 2 h")],
)
def test_an_instant_is_seen_from_now(instant: float | None, text: str) -> None:
    assert showing.ago(instant, 100.0) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (512, "512 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (1024**2 - 1, "1023.9 KiB"), (3 << 30, "3 GiB"),
     (5 << 40, "5 TiB")],
)  # fmt: skip
def test_a_size_keeps_to_four_digits(count: int, text: str) -> None:
    assert showing.size(count) == text


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (b"caf\xc3\xa9", "café"), (b"\xff\x00", "\ufffd\x00"), ("\udcff", "\ufffd"), (float("nan"), None),
        ([float("inf"), (1, b"x")], [None, [1, "x"]]), ({b"k": {"n": [b"\xff"]}}, {"k": {"n": ["\ufffd"]}}), (7, 7),
    ],
)  # fmt: skip
def test_json_carries_every_value_that_a_job_can_return(value: object, plain: object) -> None:
    line = showing.json_line(value)
    assert line.isascii() and "\n" not in line
    assert json.loads(line) == plain


def test_columns_are_aligned_and_the_last_is_not_padded() -> None:
    assert showing.columns([("ID", "STATE", "TARGET"), (1, "queued", "a b"), (22, "done", "")]) == [
        "ID  STATE   TARGET", "1   queued  a b", "22  done",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\nb", "bell\x07", "\u202egnp", "\udcff"])
def test_a_text_of_a_job_cannot_command_the_terminal(text: str) -> None:
    assert showing.printable(text).isprintable()
    assert all(line.isprintable() for line in showing.columns([(text, "x")]))
    assert showing.ending(failed(("ValueError", text))).isprintable()


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (job(), "succeeded"),
        (job(state="queued", outcome=None), "queued"),
        (job(state="running", outcome=None, cancel_wanted=True), "running, asked to end"),
        (failed(("ExitStatus", "ended with status 3")), "failed: ended with status 3"),
        (failed(("KeyError", "'x'")), "failed: KeyError: 'x'"),
        (job(outcome="rejected", reason="no such queue"), "rejected: no such queue"),
        (job(outcome="expired"), "expired"),
    ],
)
def test_the_end_of_a_job_is_said_in_a_few_words(status: dict[str, object], text: str) -> None:
    assert showing.ending(status) == text
