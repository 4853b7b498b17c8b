"""SIGQUIT writes the stack of every trio task to stderr: where a daemon that seems to hang is waiting."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from types import FrameType

import trio


async def dump_on_sigquit() -> None:
    """Answer every SIGQUIT until cancelled."""
    with trio.open_signal_receiver(signal.SIGQUIT) as signals:
        async for _ in signals:
            for line in _tasks(trio.lowlevel.current_root_task(), ""):
                print(line, file=sys.stderr)
            sys.stderr.flush()


def _tasks(task: trio.lowlevel.Task | None, indent: str) -> Iterator[str]:
    if task is None:
        return
    yield f"{indent}{task.name}"
    for frame, line in _frames(task):
        yield f"{indent}  {frame.f_code.co_filename}:{line} {frame.f_code.co_name}"
    for nursery in task.child_nurseries:
        for child in nursery.child_tasks:
            yield from _tasks(child, indent + "    ")


def _frames(task: trio.lowlevel.Task) -> Iterator[tuple[FrameType, int]]:
    coroutine: object = task.coro
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        yield frame, frame.f_lineno
        coroutine = getattr(coroutine, "cr_await", None)
