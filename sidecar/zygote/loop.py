"""The loop: one wait, then whatever happened, in the order in which it costs others least.

What can happen: the daemon says something, an attempt writes, an attempt's main process ends, a deadline comes, the
keeper is gone. Each has one function. Nothing here blocks but the wait itself. Only what was killed and is not gone
yet is looked at again, after 0.5 ms and then less and less often: waiting for it, even by a pidfd, would let a debugger
that holds it stop or spin us, and a thousand strays would want a thousand descriptors.

The daemon may be dead or stopped at any time: deadlines are kept all the same, endings are held until it (or the next
one) says they are recorded. The keeper's end is ours: we end every tree and go.
"""

from __future__ import annotations

import gc
import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from . import child, kernel, tree
from .attempt import ESCALATION, KILLED, RUNNING, SWEEPING, TERMINATED, Attempt, Key
from .channel import Channel

PROTOCOL = 1
_REPORT_ROOM = 80 * 1024  # beside a result: an error with its message and traceback
_LONGEST_WAIT = 86400.0  # seconds; epoll takes no more than 24 days
_FIRST_LOOK, _LAST_LOOK = 0.0005, 0.05  # seconds


class Zygote:
    """All that one zygote knows: attempts under way, endings not yet recorded, and its runtime."""

    def __init__(self, channel: Channel, lifeline: int) -> None:
        self.channel = channel
        self.poll = select.epoll()
        self.handlers: dict[int, Callable[[], None]] = {}
        self.running: dict[Key, Attempt] = {}
        self.sweeping: list[Attempt] = []
        self.held: dict[Key, list[Any]] = {}
        self.unreaped: list[Attempt] = []  # ended, and held by somebody who traces it
        self.beyond: set[int] = set()  # strays that became somebody else: not ours to end
        self.look_at = math.inf  # when strays and the unreaped are looked at again, on the monotonic clock
        self.pause = _FIRST_LOOK
        self.record: dict[str, Any] | None = None  # the runtime, from the first hello
        self.result_limit = self.output_limit = 0
        self.null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self.retired = False
        self.watch(channel.sock.fileno(), self.on_messages)
        self.watch(lifeline, self.on_keeper_gone)

    # -- waiting ------------------------------------------------------------------------------------------------

    def watch(self, fd: int, handler: Callable[[], None]) -> None:
        """Call `handler` whenever `fd` is readable."""
        self.handlers[fd] = handler
        self.poll.register(fd, select.EPOLLIN)

    def unwatch(self, fd: int) -> None:
        """Forget `fd`, before it is closed: a later child inherits it, and stale events would arrive."""
        self.poll.unregister(fd)
        del self.handlers[fd]

    def run(self) -> None:
        """Run until the keeper is gone, or until retired and empty."""
        while not (self.retired and not self.running and not self.sweeping):
            for fd, _ in self.poll.poll(self.until_alarm()):
                handler = self.handlers.get(fd)  # an earlier event of this round may have unwatched it
                if handler is not None:
                    handler()
            self.fire_alarms()
            self.flush()

    def until_alarm(self) -> float | None:
        """Return the seconds until the next deadline or look, None when there is none.

        There are as many attempts as slots: looking at each is cheaper than a heap that must forget.
        """
        at = min((attempt.deadline for attempt in self.running.values()), default=math.inf)
        at = min(at, self.look_at)
        return None if at == math.inf else min(max(0.0, at - time.monotonic()), _LONGEST_WAIT)

    def flush(self) -> None:
        """Write to the daemon; while it does not read, wait until it could."""
        if self.retired:
            return
        try:
            done = self.channel.flush()
            self.poll.modify(self.channel.sock.fileno(), select.EPOLLIN if done else select.EPOLLIN | select.EPOLLOUT)
        except (BrokenPipeError, ConnectionResetError, ConnectionRefusedError):
            self.retire()

    def retire(self) -> None:
        """Nobody will speak to us again: end when the last attempt has."""
        self.retired = True
        self.unwatch(self.channel.sock.fileno())

    # -- the daemon speaks --------------------------------------------------------------------------------------

    def on_messages(self) -> None:
        """Take what the daemon said."""
        messages, open_ = self.channel.receive()
        for name, *rest in messages:
            getattr(self, "told_" + name)(*rest)
        if not open_:
            self.retire()

    def told_hello(self, nonce: int, record: dict[str, Any], limits: dict[str, int]) -> None:
        """A daemon (the first, or the next one): say what is here, and again every ending it may not know.

        The answer carries the daemon's nonce: one that the daemon before did not come to read says nothing of now.
        """
        if self.record is None:
            self.adopt(record)
        self.result_limit, self.output_limit = limits["result"], limits["output"]
        for attempt in self.running.values():
            attempt.followed = False
        here = [list(key) for key in (*self.running, *(attempt.key for attempt in self.sweeping), *self.held)]
        self.channel.send(["hello", nonce, {"pid": os.getpid(), "protocol": PROTOCOL, "attempts": here}])
        for message in self.held.values():
            self.channel.send(message)

    def adopt(self, record: dict[str, Any]) -> None:
        """Become the zygote of this runtime: its path in front, its environment for every job."""
        self.record = record
        sys.path[:] = list(dict.fromkeys([*record.get("path", ()), *sys.path]))
        os.environ.update(record.get("env", {}))

    def told_stop(self, key: list[int], reason: str) -> None:
        """End an attempt before its time: the same escalation as at its deadline."""
        attempt = self.running.get((key[0], key[1]))
        if attempt is not None and attempt.stage == RUNNING:
            attempt.reason = reason
            self.escalate(attempt)

    def told_kill(self, key: list[int]) -> None:
        """End an attempt now; it has been told to stop before."""
        attempt = self.running.get((key[0], key[1]))
        if attempt is not None and attempt.stage == TERMINATED:
            self.escalate(attempt)

    def told_follow(self, key: list[int]) -> None:
        """Send the tail now and whatever is written from now on."""
        attempt = self.running.get((key[0], key[1]))
        if attempt is not None:
            attempt.followed = True
            tail = attempt.tail.value()
            self.channel.send(["output", key, tail, attempt.tail.dropped], droppable=True)

    def told_tail(self, key: list[int], ticket: int) -> None:
        """Answer with the tail of a running attempt, None when it is not here."""
        attempt = self.running.get((key[0], key[1]))
        tail = None if attempt is None else attempt.tail
        self.channel.send(["tail", ticket, tail and tail.value(), tail.dropped if tail else 0])

    def told_recorded(self, keys: list[list[int]]) -> None:
        """Forget endings that the store has."""
        for seq, number in keys:
            self.held.pop((seq, number), None)

    # -- an attempt begins --------------------------------------------------------------------------------------

    def told_start(self, key: list[int], fields: dict[str, Any]) -> None:
        """Fork an attempt; what cannot even be forked has ended before it began."""
        seq, number = key
        if (seq, number) in self.running or (seq, number) in self.held:
            return  # never twice, whatever a confused daemon says
        try:
            attempt = self.fork((seq, number), fields)
        except OSError as error:
            return self.hold((seq, number), _stillborn(key, error))
        self.running[attempt.key] = attempt
        attempt.grace = fields["grace"]
        attempt.started = time.time()
        self.watch(attempt.pidfd, lambda: self.on_main_gone(attempt))
        self.watch(attempt.output, lambda: self.on_output(attempt))
        attempt.deadline = time.monotonic() + fields["timeout"]

    def fork(self, key: Key, fields: dict[str, Any]) -> Attempt:
        """Make pipe, report and process. Raises OSError with nothing left open when the kernel refuses."""
        record = self.record or {}
        plan = child.Plan(fields, record.get("cwd"), self.result_limit)
        kept: list[int] = []
        given: list[int] = []
        try:
            report = kernel.report_file(4 + self.result_limit + _REPORT_ROOM)
            kept.append(report)
            output, writing = os.pipe2(os.O_CLOEXEC)
            kept.append(output)
            given.append(writing)
            os.set_blocking(output, False)
            stdin = self.null
            if "stdin" in fields:
                stdin = kernel.memory_file(fields["stdin"])
                given.append(stdin)
            parent = os.getpid()
            pid = os.fork()
            if pid == 0:
                gc.enable()
                child.run(plan, parent, stdin, writing, report, record.get("setup"))
            return Attempt(key, pid, _open_pidfd(pid), output, report, self.output_limit)
        except OSError:
            for fd in kept:
                os.close(fd)
            raise
        finally:
            for fd in given:
                os.close(fd)

    # -- an attempt goes on -------------------------------------------------------------------------------------

    def on_output(self, attempt: Attempt) -> None:
        """Keep what was written; once per round, so that a flood costs its share and no more."""
        data = attempt.read_output()
        if data is None:
            self.close_output(attempt)
        elif data:
            self.tell_output(attempt, data)

    def tell_output(self, attempt: Attempt, data: bytes) -> None:
        """Pass on the last that was written, with its place in all that was."""
        if attempt.followed:
            place = attempt.tail.written - len(data)
            self.channel.send(["output", list(attempt.key), data, place], droppable=True)

    def close_output(self, attempt: Attempt) -> None:
        """Stop reading: every writer is gone, or the attempt is over. Says nothing about the job's life."""
        if attempt.output >= 0:
            self.unwatch(attempt.output)
            os.close(attempt.output)
            attempt.output = -1

    def fire_alarms(self) -> None:
        """Escalate every attempt whose stage is overdue; look again at what did not go at once."""
        now = time.monotonic()
        for attempt in [attempt for attempt in self.running.values() if attempt.deadline <= now]:
            if attempt.stage == RUNNING:
                attempt.reason = "timeout"
            self.escalate(attempt)
        if self.look_at <= now:
            self.look_at = math.inf
            for attempt in self.unreaped[:]:
                self.reap(attempt)
            self.sweep()

    def look_again(self) -> None:
        """Come back soon, then less soon: killed processes go in less than a millisecond, most of them."""
        self.look_at = time.monotonic() + self.pause
        self.pause = min(self.pause * 2, _LAST_LOOK)

    def escalate(self, attempt: Attempt) -> None:
        """Take the next step towards the end: SIGTERM, after the grace SIGKILL. SIGCONT wakes what is stopped."""
        number, attempt.stage = ESCALATION[attempt.stage]
        tree.signal_group(attempt.pid, number)
        tree.signal_group(attempt.pid, signal.SIGCONT)
        attempt.deadline = math.inf if attempt.stage == KILLED else time.monotonic() + attempt.grace

    # -- an attempt ends ----------------------------------------------------------------------------------------

    def on_main_gone(self, attempt: Attempt) -> None:
        """Its main process has ended, and is a zombie that holds its number: end its group, reap it, sweep."""
        self.unwatch(attempt.pidfd)
        os.close(attempt.pidfd)
        tree.signal_group(attempt.pid, signal.SIGKILL)
        attempt.ended = time.time()
        attempt.deadline = math.inf
        self.unreaped.append(attempt)
        self.reap(attempt)
        self.sweep()

    def reap(self, attempt: Attempt) -> None:
        """Take its exit status. Never waits: who traces a process holds its zombie as long as he likes."""
        pid, attempt.status, attempt.rusage = os.wait4(attempt.pid, os.WNOHANG)
        if pid == 0:
            return self.look_again()
        attempt.stage = SWEEPING
        self.unreaped.remove(attempt)
        del self.running[attempt.key]
        self.sweeping.append(attempt)

    def sweep(self) -> None:
        """Kill what ended trees left behind; when nothing is left, their attempts are over."""
        if not self.sweeping:
            return
        mains = {attempt.pid for attempt in self.running.values()}
        self.beyond = tree.still_there(self.beyond)
        while strays := set(tree.children()) - mains - self.beyond:
            alive, beyond = tree.kill_strays(strays)
            self.beyond |= beyond
            for attempt in self.sweeping:
                attempt.survivors |= alive
            if alive:
                return self.look_again()
        self.pause = _FIRST_LOOK
        for attempt in self.sweeping:
            self.end(attempt)
        self.sweeping.clear()

    def end(self, attempt: Attempt) -> None:
        """Tell how an attempt ended, now that nothing of it lives."""
        attempt.drain_output(lambda data: self.tell_output(attempt, data))
        self.close_output(attempt)
        self.hold(attempt.key, attempt.exited(self.result_limit + _REPORT_ROOM))
        os.close(attempt.report)

    def hold(self, key: Key, message: list[Any]) -> None:
        """Tell an ending, and keep it until it is recorded."""
        self.held[key] = message
        self.channel.send(message)

    def on_keeper_gone(self) -> None:
        """Nobody holds us any more: leave nothing behind."""
        for attempt in self.running.values():
            tree.signal_group(attempt.pid, signal.SIGKILL)
        while left := set(tree.children()) - self.beyond:
            self.beyond |= tree.kill_strays(left)[1]
            time.sleep(0.001)  # dying takes the kernel a moment, and there is nothing else left to wait for
        os._exit(0)


def _open_pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError:  # out of descriptors: what we could not watch must not run
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _stillborn(key: list[int], error: OSError) -> list[Any]:
    """Make the ending of an attempt that could not be forked: nothing of it ever ran."""
    now = time.time()
    return ["exited", key, {
        "reason": "unborn", "status": None, "signal": None, "started": None, "ended": now, "user": 0.0, "system": 0.0,
        "max_rss": 0, "report": b"", "tail": str(error).encode(), "dropped": 0, "survivors": 0,
    }]  # fmt: skip
