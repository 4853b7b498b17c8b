"""Run here because nobody else would: the same arguments, the same words for the end."""

from __future__ import annotations

import asyncio
import sys

import pytest

from sidecar.client import JobFailed, Options, SidecarError

from . import jobs


@pytest.fixture
def inline(client: Options) -> Options:
    return client.options(on_unavailable="inline")


def test_a_function_gets_what_a_job_would_get(inline: Options) -> None:
    handle = inline.submit(jobs.add, (1, 2), other=[3])
    assert jobs.calls[-1] == ([1, 2], [3])
    assert handle.result() == [1, 2, 3]
    assert handle.wait().outcome == "succeeded"
    assert handle.done() and not handle.running() and not handle.cancelled() and not handle.cancel()
    assert handle.status().target == "tests.client.jobs:add"
    assert handle.output() == b""


def test_what_it_raises_is_kept_for_whoever_asks(inline: Options) -> None:
    handle = inline.submit(jobs.fail, "no")
    assert handle.status().outcome == "failed"
    with pytest.raises(JobFailed, match="failed: ValueError: no") as caught:
        handle.result()
    assert "in fail" in caught.value.traceback


def test_a_name_that_does_not_exist_is_a_failure(inline: Options) -> None:
    with pytest.raises(JobFailed, match="ModuleNotFoundError"):
        inline.submit("no_such_module_at_all:f").result()


def test_a_coroutine_is_run(inline: Options) -> None:
    assert inline.submit(jobs.double, 21).result() == 42


def test_a_coroutine_is_run_where_a_loop_runs_already(inline: Options) -> None:
    async def main() -> int:
        return inline.submit(jobs.double, 21).result()  # type: ignore[no-any-return]

    assert asyncio.run(main()) == 42


def test_a_value_that_does_not_pack_is_no_failure(inline: Options) -> None:
    handle = inline.submit("tests.client.jobs:Shop")
    assert handle.status().outcome == "succeeded"
    with pytest.raises(SidecarError, match="there is no result"):
        handle.result()


def test_a_command_is_run_with_its_input(inline: Options) -> None:
    code = "import sys, os; print(sys.stdin.read() + os.environ['A'])"
    handle = inline.options(stdin="in", env={"A": "env"}).submit([sys.executable, "-c", code])
    assert handle.result() == 0
    assert handle.output() == b"inenv\n"


def test_a_command_that_fails_tells_how(inline: Options) -> None:
    with pytest.raises(JobFailed, match="ExitStatus: 3"):
        inline.submit([sys.executable, "-c", "raise SystemExit(3)"]).result()
    with pytest.raises(JobFailed, match="Signal: 9"):
        inline.submit([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]).result()
    with pytest.raises(JobFailed, match="FileNotFoundError"):
        inline.submit(["/no/such/program"]).result()
