"""Output in pieces: each byte once, in order, and what never came is counted."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.cli.following import Output, exit_status

from .stub import failed, job


@pytest.mark.parametrize(
    ("notices", "tail", "dropped", "written", "lost"),
    [
        ([(1, b"one", 0), (1, b"two", 3)], b"onetwo", 0, b"onetwo", 0),
        ([], b"all of it", 0, b"all of it", 0),
        ([(1, b"one", 0)], b"onetwo", 0, b"onetwo", 0),
        ([(1, b"one", 0)], b"six", 6, b"onesix", 3),
        # followed too late for the beginning, or told again by the next daemon
        ([(1, b"cd", 2), (1, b"e", 4)], b"bcde", 1, b"cde", 2),
        ([(1, b"a\n", 0)], b"a\nb\na\n", 0, b"a\nb\na\n", 0),
        ([(1, b"one", 0), (1, b"onetwo", 0)], b"onetwo", 0, b"onetwo", 0),
        ([(1, b"one", 0), (1, b"six", 6)], b"onetwosix", 0, b"onesix", 3),
        ([(1, b"tail", 100)], b"tail", 100, b"tail", 100),
        # another attempt starts anew; the tail is the newest one's
        ([(1, b"first", 0), (2, b"second", 0)], b"second", 0, b"firstsecond", 0),
        ([(1, b"first", 0)], b"second", 0, b"firstsecond", 0),
    ],
)
def test_each_byte_is_written_once_and_what_is_gone_is_counted(
    notices: list[tuple[Any, ...]], tail: bytes, dropped: int, written: bytes, lost: int
) -> None:
    pieces: list[bytes] = []
    output = Output(pieces.append)
    for notice in notices:
        output.on_notice("output", ["id", *notice])
    newest = 2 if b"second" in tail else 1
    output.add(newest, tail, dropped)
    assert (b"".join(pieces), output.lost) == (written, lost)


def test_a_notice_of_a_kind_that_is_not_known_is_passed_over() -> None:
    output = Output(lambda data: pytest.fail("was written"))
    output.on_notice("progress", ["id", 1, b"50 %"])
    assert output.lost == 0


@pytest.mark.parametrize(
    ("status", "is_call", "code"),
    [
        (job(), False, 0),
        (failed(("ExitStatus", "ended with status 7"), status=7), False, 7),
        (failed(("ExitStatus", "ended with status 7"), status=7), True, 1),
        (failed(("Signal", "was killed by signal 9"), status=None, signal=9), False, 137),
        (failed(("Signal", "was killed by signal 11"), status=None, signal=11), True, 139),
        (failed(("CommandNotFound", "cannot run 'x'"), status=127), False, 127),
        (failed(("NoResult", "ended too soon"), status=0), True, 1),
        (failed(("Timeout", "did not end in time"), "timed_out", status=None, signal=15), False, 124),
        (job(outcome="cancelled", attempts=[]), False, 1),
        (job(outcome="lost"), False, 1),
        (job(outcome="rejected", attempts=[]), True, 1),
        (job(outcome="expired", attempts=[]), False, 1),
    ],
)
def test_the_exit_code_is_that_of_the_job(status: dict[str, Any], is_call: bool, code: int) -> None:
    assert exit_status(status, is_call) == code
