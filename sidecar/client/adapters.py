"""The little that asyncio and trio do differently for us: wait for a descriptor, sleep, use a thread.

One object a library, both with the same four methods; all waits end at an instant instead of raising, so that no
library's idea of a timeout leaves this file. It knows no socket's content.
"""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable


class Adapter(Protocol):
    """What the async client asks of a library. `ends` is on the monotonic clock, None for never."""

    async def readable(self, fd: int, ends: float | None) -> bool:
        """Wait until `fd` can be read; False when it could not in time."""

    async def writable(self, fd: int, ends: float | None) -> bool:
        """Wait until `fd` can be written; False when it could not in time."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run what may block in a thread."""


class Asyncio:
    """For a running asyncio loop."""

    async def readable(self, fd: int, ends: float | None) -> bool:
        loop = _asyncio().get_running_loop()
        return await self._wait(loop, loop.add_reader, loop.remove_reader, fd, ends)

    async def writable(self, fd: int, ends: float | None) -> bool:
        loop = _asyncio().get_running_loop()
        return await self._wait(loop, loop.add_writer, loop.remove_writer, fd, ends)

    async def _wait(self, loop: Any, add: Any, remove: Any, fd: int, ends: float | None) -> bool:
        ready = loop.create_future()
        add(fd, _set, ready)
        try:
            await _asyncio().wait([ready], timeout=_left(ends))
        finally:
            remove(fd)
        return bool(ready.done())

    async def sleep(self, seconds: float) -> None:
        await _asyncio().sleep(seconds)

    async def in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        return await _asyncio().to_thread(function, *args)


class Trio:
    """For a running trio loop."""

    async def readable(self, fd: int, ends: float | None) -> bool:
        return await self._wait(_trio().lowlevel.wait_readable, fd, ends)

    async def writable(self, fd: int, ends: float | None) -> bool:
        return await self._wait(_trio().lowlevel.wait_writable, fd, ends)

    async def _wait(self, wait: Any, fd: int, ends: float | None) -> bool:
        left = _left(ends)
        with _trio().move_on_after(float("inf") if left is None else left) as scope:
            await wait(fd)
        return not scope.cancelled_caught

    async def sleep(self, seconds: float) -> None:
        await _trio().sleep(seconds)

    async def in_thread(self, function: Callable[..., Any], *args: Any) -> Any:
        return await _trio().to_thread.run_sync(function, *args)


def running() -> Adapter:
    """Return the adapter for the library that runs this task. Raises RuntimeError outside of both.

    Looked at anew each time: in guest mode both run, in one thread.
    """
    if "trio" in sys.modules:
        try:
            _trio().lowlevel.current_task()
        except RuntimeError:
            pass
        else:
            return _TRIO
    if "asyncio" in sys.modules:
        try:
            _asyncio().get_running_loop()
        except RuntimeError:
            pass
        else:
            return _ASYNCIO
    raise RuntimeError("cannot await here: neither asyncio nor trio is running, use sidecar.client without aio")


_TRIO, _ASYNCIO = Trio(), Asyncio()


def _trio() -> Any:
    return sys.modules["trio"]


def _asyncio() -> Any:
    return sys.modules["asyncio"]


def _set(ready: Any) -> None:
    if not ready.done():
        ready.set_result(None)


def _left(ends: float | None) -> float | None:
    return None if ends is None else max(0.0, ends - monotonic())
