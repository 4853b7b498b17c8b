"""Spares: processes forked ahead, set up, told their job later. test_attempts.py runs its whole contract in them."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sidecar.zygote.attempt import Attempt
from sidecar.zygote.child import MOST_PIPED
from sidecar.zygote.forks import Ends, Forks
from tests.waiting import eventually

from .process import LIMITS, ROOT, ZygoteProcess, report, result
from .test_attempts import J, alive


@pytest.fixture
def zygote() -> Iterator[ZygoteProcess]:
    process = ZygoteProcess({"path": [ROOT]})
    yield process
    if process.lifeline >= 0:
        process.stop()


def two_spares(zygote: ZygoteProcess) -> list[int]:
    return eventually(lambda: spares if len(spares := zygote.spares()) == 2 else None, 10) or []


def test_a_job_begins_in_a_process_that_was_there_before_it(zygote: ZygoteProcess) -> None:
    before = two_spares(zygote)
    assert result(zygote.run(call="os:getpid")) in before


def test_without_spares_it_does_not() -> None:
    process = ZygoteProcess({"path": [ROOT]}, "no_spares")
    process.run(call="os:getpid")
    before = process.children()
    assert result(process.run(call="os:getpid")) not in before
    process.stop()


def test_used_spares_are_replaced_and_no_more_than_two_are_kept(zygote: ZygoteProcess) -> None:
    for _ in range(5):
        zygote.run(call="time:time")
    first = two_spares(zygote)
    zygote.run(call="time:time")
    second = two_spares(zygote)
    assert first != second and len(zygote.children()) == 2


def test_a_spare_takes_orders_of_any_length_that_its_report_has(zygote: ZygoteProcess) -> None:
    for size in [*range(MOST_PIPED - 150, MOST_PIPED), 10_000, 500_000, 1_000_000]:
        before = two_spares(zygote)
        pid, *told = result(zygote.run(call=J + "told", args=["x" * size]))
        assert (pid in before, told) == (True, [size, "x"])


def spare_of(forks: Forks, report_limit: int) -> tuple[Ends, Attempt]:
    """Put what a spare's process would have, though there is none, among the spares."""
    ends = Ends(report_limit, True)
    forks.spares.append(forks.attempt(os.getpid(), -1, ends))
    return ends, forks.spares[-1]


def test_a_spare_of_an_earlier_limit_is_given_no_more_than_it_can_hold() -> None:
    forks = Forks()
    forks.limit(1_000_000, 0)  # while a template was making this one, for less
    ends, spare = spare_of(forks, 100_000)
    assert spare.report_limit == 100_000
    assert forks.take_spare((b"x" * 200_000, 1, "", "", "")) is None
    assert forks.spares == [spare]
    assert forks.take_spare((b"x" * 90_000, 1, "", "", "")) is spare
    ends.orders = -1  # closed: it is told
    ends.close()


def test_a_spare_that_there_is_no_memory_to_tell_is_still_one() -> None:
    forks = Forks()
    ends, spare = spare_of(forks, 100_000)
    spare.report_limit = 1_000_000  # its file is not as long: writing fails as it does without memory
    with pytest.raises(OSError):
        forks.take_spare((b"x" * 200_000, 1, "", "", ""))
    assert forks.spares == [spare]  # else nobody would end it
    ends.close()


def test_an_order_that_is_too_long_for_a_spare_is_forked(zygote: ZygoteProcess) -> None:
    before = two_spares(zygote)
    assert result(zygote.run(call="builtins:len", args=["x" * 2_000_000])) == 2_000_000
    assert zygote.spares() == before


def test_what_was_an_order_is_no_report(zygote: ZygoteProcess) -> None:
    two_spares(zygote)
    assert zygote.run(call="os:_exit", args=[0], stdin=b"x" * 10_000)["report"] == b""


def test_what_the_job_starts_does_not_find_an_order_in_its_report(zygote: ZygoteProcess) -> None:
    two_spares(zygote)
    found = result(zygote.run(call="os:pread", args=[3, 20_000, 0], stdin=b"x" * 10_000))
    assert found == bytes(20_000)


def test_a_spare_that_somebody_kills_is_replaced_and_costs_no_job(zygote: ZygoteProcess) -> None:
    for pid in two_spares(zygote):
        os.kill(pid, signal.SIGKILL)
    assert result(zygote.run(call=J + "add", args=[1])) == 1
    eventually(lambda: zygote.children() == [] or zygote.spares(), 10)
    assert result(zygote.run(call=J + "add", args=[2])) == 2
    assert len(two_spares(zygote)) == 2


def told_while_stopped(zygote: ZygoteProcess) -> tuple[int, list[int]]:
    """Have a job given to a spare that is stopped. Returns the job's number and the spares."""
    spares = two_spares(zygote)
    for pid in spares:
        os.kill(pid, signal.SIGSTOP)
    number = zygote.start(call="os:getpid")
    zygote.tell("tail", [number, 1], 1)
    assert zygote.wait_for("tail", 1)[2] is not None, "it counts as running, in a process that reads nothing"
    return number, spares


def killed_while_told(zygote: ZygoteProcess) -> tuple[int, list[int]]:
    """Kill a spare that has a job and has not looked at it. Returns the job's number and the spares."""
    number, spares = told_while_stopped(zygote)
    for pid in spares:
        os.kill(pid, signal.SIGKILL)
    return number, spares


def test_a_spare_that_is_killed_while_it_is_told_its_job_costs_no_job(zygote: ZygoteProcess) -> None:
    number, spares = killed_while_told(zygote)
    assert result(zygote.ending(number)) not in spares


def test_a_job_that_is_cancelled_before_its_spare_has_looked_at_it_does_not_begin(zygote: ZygoteProcess) -> None:
    number, spares = told_while_stopped(zygote)
    zygote.tell("stop", [number, 1], "cancel")  # wakes the spare too, which dies of the signal that came first
    assert zygote.ending(number)["reason"] == "cancel"
    for pid in spares:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def test_without_the_mark_that_job_would_count_as_killed() -> None:
    process = ZygoteProcess({"path": [ROOT]}, "no_mark")
    number, _ = killed_while_told(process)
    assert process.ending(number)["signal"] == signal.SIGKILL
    process.stop()


def test_spares_end_with_their_zygote(zygote: ZygoteProcess) -> None:
    pids = two_spares(zygote)
    zygote.kill()
    zygote.lifeline = -1
    eventually(lambda: not any(alive(pid) for pid in pids), 5)


def test_spares_end_when_the_zygote_is_retired(zygote: ZygoteProcess) -> None:
    pids = two_spares(zygote)
    zygote.channel.close()
    eventually(lambda: not any(alive(pid) for pid in pids), 5)
    os.waitpid(zygote.pid, 0)
    os.close(zygote.lifeline)
    zygote.lifeline = -1


def limited(zygote: ZygoteProcess) -> dict[str, object]:
    """Lower the limit of results while spares are there, and return what a job with a larger one reports."""
    two_spares(zygote)
    zygote.tell("hello", 8, {}, {**LIMITS, "result": 10})
    zygote.wait_for("hello", 8)
    return report(zygote.run(call=J + "add", args=["x" * 100, "y"]))


def test_a_new_limit_holds_for_the_next_job(zygote: ZygoteProcess) -> None:
    assert "limit is 10" in str(limited(zygote)["result_error"])


def test_with_the_old_spares_it_would_not() -> None:
    process = ZygoteProcess({"path": [ROOT]}, "no_end_of_spares")
    assert "result" in limited(process)
    process.stop()


def test_a_job_that_writes_zeros_to_its_report_does_not_begin_anew(zygote: ZygoteProcess, tmp_path: Path) -> None:
    two_spares(zygote)
    script = f"echo >> {tmp_path}/ran; head -c 64 /dev/zero >&3"
    assert zygote.run(argv=["sh", "-c", script])["status"] == 0
    assert (tmp_path / "ran").read_text() == "\n"


def test_a_lower_limit_does_not_undo_what_runs(zygote: ZygoteProcess, tmp_path: Path) -> None:
    number = zygote.start(call=J + "wait_and_return", args=[str(tmp_path / "started"), str(tmp_path / "go"), 200_000])
    eventually(lambda: (tmp_path / "started").exists(), 10)
    zygote.tell("hello", 8, {}, {**LIMITS, "result": 10})
    zygote.wait_for("hello", 8)
    (tmp_path / "go").touch()
    assert result(zygote.ending(number)) == b"x" * 200_000


def test_spares_that_end_by_themselves_are_not_made_without_end() -> None:
    process = ZygoteProcess({"path": [ROOT]}, "no_life_in_spares")
    process.run(call="time:time")
    seen: set[int] = set()
    for _ in range(20_000):  # a quarter of a second: room for a hundred
        seen.update(process.children())
    assert len(seen) <= 3
    process.stop()


def test_spares_make_room_for_a_job_that_lacks_descriptors(zygote: ZygoteProcess) -> None:
    two_spares(zygote)
    open_now = len(os.listdir(f"/proc/{zygote.pid}/fd"))
    resource.prlimit(zygote.pid, resource.RLIMIT_NOFILE, (open_now + 1, open_now + 1))
    long = ["x" * 2_000_000, "y"]
    assert zygote.run(call=J + "add", args=long)["reason"] == "unborn"
    eventually(lambda: zygote.children() == [], 10)
    assert zygote.run(call=J + "add", args=long)["reason"] == "exit"
