"""The loop: one wait, then whatever happened, in the order in which it costs others least.

What can happen: the daemon says something, an attempt writes, an attempt's main process ends, a deadline comes, the
keeper is gone. Each has one function. Nothing here blocks but the wait itself. What a main process that has ended still
needs until its attempt is over is the reaper's.

The daemon may be dead or stopped at any time: deadlines are kept all the same, endings are held until it (or the next
one) says they are recorded. The keeper's end is ours: we end every tree and go.
"""

from __future__ import annotations

from math import inf
from os import WNOHANG, _exit, close, waitpid
from select import EPOLLIN, EPOLLOUT, epoll
from time import monotonic, time

from ..crashpoints import crash
from . import tree
from .adopt import adopt
from .attempt import ESCALATION, KILLED, RUNNING, SPARE, TERMINATED, Attempt, Key, stillborn, unbegun
from .channel import Channel
from .forks import Forks
from .outputs import Outputs
from .reaper import Reaper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .child import Order
    from .php import Program
    from .template import Template
    from .watched import Files

PROTOCOL = 2
_SIGKILL, _SIGCONT = 9, 18
_CALM = 0.001  # seconds without an event after which a spare is made
_LONGEST_WAIT = 86400.0  # seconds; epoll takes no more than 24 days


class Zygote:
    """All that one zygote knows: attempts under way, endings not yet recorded, and its runtime."""

    def __init__(self, channel: Channel, lifeline: int) -> None:
        self.channel = channel
        self.files: Files | Program | None = None  # of a warm zygote or a PHP one: what may change under it
        self.template: Template | None = None  # of a PHP runtime: what its jobs are forked from
        self.cold: str | None = None  # why it could not be warmed, or PHP not be started
        self.forks = Forks()
        self.poll = epoll()
        self.lifeline = lifeline
        self.daemon = channel.sock.fileno()
        self.mains: dict[int, Attempt] = {}  # by the pidfd of the main process
        self.running: dict[Key, Attempt] = {}
        self.outputs = Outputs(self.poll, channel, self.running)
        self.held: dict[Key, list[Any]] = {}
        self.reaper = Reaper(self.running, self.forks.spares, self.end)
        self.alarm = inf  # the earliest deadline or look there may be, on the monotonic clock
        self.retired = False
        self.full = False  # the daemon does not read at present
        self.told: dict[str, Callable[..., None]] = {
            "hello": self.told_hello, "start": self.told_start, "stop": self.told_stop, "kill": self.told_kill,
            "follow": self.outputs.told_follow, "tail": self.outputs.told_tail, "recorded": self.told_recorded,
        }  # fmt: skip
        self.poll.register(self.daemon, EPOLLIN)
        self.poll.register(lifeline, EPOLLIN)

    # -- waiting ------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Run until the keeper is gone, or until retired and empty."""
        while not (self.retired and not self.running and not self.reaper.sweeping):
            wait = self.alarm - monotonic()
            calm = wait > _CALM and len(self.forks.spares) < self.forks.wanted
            if calm:
                wait = _CALM
            elif wait > _LONGEST_WAIT:
                wait = _LONGEST_WAIT
            events = self.poll.poll(wait if wait > 0 else 0)
            if calm and not events:
                self.add_spare()
            for fd, what in events:
                # An earlier event of this round may have closed it: then no book knows it.
                if (attempt := self.mains.get(fd)) is not None:
                    self.on_main_gone(attempt)
                elif (attempt := self.outputs.of.get(fd)) is not None:
                    self.outputs.on_event(attempt, what)
                elif fd == self.daemon:
                    self.on_messages()
                elif fd == self.lifeline:
                    self.on_keeper_gone()
                elif self.template is not None and fd == self.template.fd and self.template.reason is None:
                    self.template.heard()
            if self.alarm <= monotonic():
                self.fire_alarms()
            if self.template is not None:
                self.template.refill()
            self.flush()

    def flush(self) -> None:
        """Write to the daemon; while it does not read, wait until it could."""
        if self.retired:
            return
        try:
            full = not self.channel.flush()
            if full is not self.full:
                self.full = full
                self.poll.modify(self.daemon, EPOLLIN | EPOLLOUT if full else EPOLLIN)
        except (BrokenPipeError, ConnectionResetError, ConnectionRefusedError):
            self.retire()

    def retire(self) -> None:
        """Nobody will speak to us again: end when the last attempt has."""
        self.retired = True
        self.poll.unregister(self.daemon)
        if self.template is not None and self.template.reason is None:
            self.template.end("its zygote ends")
        self.forks.wanted = 0
        self.forks.end_spares()

    # -- the daemon speaks --------------------------------------------------------------------------------------

    def on_messages(self) -> None:
        """Take what the daemon said."""
        messages, open_ = self.channel.receive()
        for message in messages:
            self.told[message[0]](*message[1:])
        if not open_:
            self.retire()

    def told_hello(self, nonce: int, record: dict[str, Any], limits: dict[str, int]) -> None:
        """A daemon (the first, or the next one): say what is here, and again every ending it may not know.

        The answer carries the daemon's nonce: one that the daemon before did not come to read says nothing of now.
        """
        if self.forks.runtime is None:
            adopt(self, record)
        self.forks.limit(limits["result"], limits["output"])
        for attempt in self.running.values():
            attempt.followed = False
        keys = (*self.running, *(attempt.key for attempt in self.reaper.sweeping), *self.held, *self.waiting())
        here = [list(key) for key in keys]
        about = {"pid": self.forks.pid, "protocol": PROTOCOL, "attempts": here, "cold": self.cold}
        self.channel.send(["hello", nonce, about])
        if self.template is not None:
            self.template.tell()
        for message in self.held.values():
            self.channel.send(message)

    def open_template(self, record: dict[str, Any]) -> None:
        """Have a php load the application once; until it has, and where it cannot, each job has a fresh one."""
        from .template import Template  # others need none of it

        self.use(Template(record, self))

    def use(self, template: Template) -> None:
        """Have jobs forked from this template from now on."""
        self.template = self.reaper.template = template

    def waiting(self) -> list[Key]:
        """Return the attempts that wait for the template."""
        return [] if self.template is None else [key for key, *_ in self.template.waiting]

    def told_stop(self, key: list[int], reason: str) -> None:
        """End an attempt before its time: the same escalation as at its deadline."""
        attempt = self.running.get((key[0], key[1]))
        if attempt is not None and attempt.stage == RUNNING:
            attempt.reason = reason
            self.escalate(attempt)
        elif self.template is not None and self.template.stop((key[0], key[1])):
            self.hold((key[0], key[1]), unbegun((key[0], key[1]), reason))

    def told_kill(self, key: list[int]) -> None:
        """End an attempt now; it has been told to stop before."""
        attempt = self.running.get((key[0], key[1]))
        if attempt is not None and attempt.stage == TERMINATED:
            self.escalate(attempt)

    def told_recorded(self, seq: int, number: int) -> None:
        """Forget an ending that the store has."""
        self.held.pop((seq, number), None)
        crash and crash("reap.forgotten")

    # -- an attempt begins --------------------------------------------------------------------------------------

    def told_start(self, seq: int, number: int, timeout: float, grace: float, body: bytes, *ours: Any) -> None:
        """Begin an attempt, in a spare if there is one; what cannot even be forked has ended before it began."""
        key = (seq, number)
        if key in self.running or key in self.held or key in self.waiting():
            return  # never twice, whatever a confused daemon says
        if self.files is not None and (self.files.look() or (self.template is not None and self.template.is_stale())):
            return self.channel.send(["stale", seq, number])  # nothing ran; where the new code runs is not ours to say
        if self.template is not None and (next_one := self.template.again()) is not None:
            self.use(next_one)
        crash and crash("spawn.told")
        self.begin((key, timeout, grace, (body, number, *ours)))

    def begin(self, wanted: tuple[Key, float, float, Order]) -> None:
        """Begin an attempt, or have it wait for a spare of the template's."""
        key, timeout, grace, order = wanted
        try:
            attempt = self.forks.take_spare(order) if self.forks.spares else None
            if attempt is None:
                if self.template is not None and self.template.take(wanted):
                    return
                attempt = self.forks.fork(order)
                self.watch(attempt)
        except OSError as error:
            self.forks.end_spares()  # they may hold what the job lacks
            self.forks.wanted = 0
            return self.hold(key, stillborn(key, error))
        crash and crash("spawn.forked")
        attempt.key = key
        self.running[key] = attempt
        attempt.grace = grace
        attempt.started = time()
        attempt.deadline = monotonic() + timeout
        if attempt.deadline < self.alarm:
            self.alarm = attempt.deadline
        crash and crash("spawn.booked")

    def watch(self, attempt: Attempt) -> None:
        """Hear of the end of its main process, and of its output."""
        self.mains[attempt.pidfd] = attempt
        self.poll.register(attempt.pidfd, EPOLLIN)
        self.outputs.open(attempt)

    # -- spares -------------------------------------------------------------------------------------------------

    def add_spare(self) -> None:
        """Fork a process ahead of its job, now that nothing else is to be done."""
        spare = self.forks.fork_ahead()
        if spare is not None:
            self.watch(spare)

    def on_spare_gone(self, spare: Attempt) -> None:
        """Forget a spare that has ended, by us or by a stranger."""
        self.forks.spares.remove(spare)
        if spare.orders >= 0:  # not by us: what ends one may end each, so none is made until a job is
            close(spare.orders)
            self.forks.wanted = 0
        self.bury(spare)

    def begin_anew(self, attempt: Attempt) -> None:
        """Fork an attempt whose spare was killed before it took its order: nothing of the job has run."""
        del self.running[attempt.key]
        try:
            again = self.forks.fork(attempt.order)
        except OSError as error:
            self.hold(attempt.key, stillborn(attempt.key, error))
        else:
            again.key, again.grace, again.started = attempt.key, attempt.grace, attempt.started
            again.deadline, again.followed = attempt.deadline, attempt.followed
            self.running[again.key] = again
            self.watch(again)
        self.bury(attempt)

    def bury(self, spare: Attempt) -> None:
        """Reap a process in which no job has run, and close what was held for it."""
        self.outputs.close(spare)
        close(spare.report)
        waitpid(spare.pid, WNOHANG)

    # -- deadlines ----------------------------------------------------------------------------------------------

    def fire_alarms(self) -> None:
        """Escalate every attempt whose stage is overdue; look again at what did not go at once; set the alarm anew.

        There are as many attempts as slots: looking at each is cheaper than a heap that must forget.
        """
        now = monotonic()
        for attempt in [attempt for attempt in self.running.values() if attempt.deadline <= now]:
            if attempt.stage == RUNNING:
                attempt.reason = "timeout"
            self.escalate(attempt)
        if self.reaper.look_at <= now:
            self.reaper.look()
        if self.template is not None:
            self.template.look()
        self.alarm = min((attempt.deadline for attempt in self.running.values()), default=inf)
        self.alarm = min(self.alarm, self.reaper.look_at)
        if self.template is not None:
            self.alarm = min(self.alarm, self.template.until)

    def escalate(self, attempt: Attempt) -> None:
        """Take the next step towards the end: SIGTERM, after the grace SIGKILL. SIGCONT wakes what is stopped."""
        number, attempt.stage = ESCALATION[attempt.stage]
        tree.signal_group(attempt.pid, number)
        tree.signal_group(attempt.pid, _SIGCONT)
        attempt.deadline = inf if attempt.stage == KILLED else monotonic() + attempt.grace
        self.alarm = min(self.alarm, attempt.deadline)

    # -- an attempt ends ----------------------------------------------------------------------------------------

    def on_main_gone(self, attempt: Attempt) -> None:
        """Its main process has ended, and is a zombie that holds its number: end its group, reap it, sweep."""
        crash and crash("reap.gone")
        self.poll.unregister(attempt.pidfd)
        del self.mains[attempt.pidfd]
        close(attempt.pidfd)
        tree.signal_group(attempt.pid, _SIGKILL)
        if attempt.key is SPARE:
            return self.on_spare_gone(attempt)
        if attempt.order is not None and attempt.stage == RUNNING and not attempt.begun():  # and it was not us
            return self.begin_anew(attempt)
        attempt.ended = time()
        attempt.deadline = inf
        self.reaper.take(attempt)
        self.alarm = min(self.alarm, self.reaper.look_at)

    def end(self, attempt: Attempt) -> None:
        """Tell how an attempt ended, now that nothing of it lives."""
        self.outputs.finish(attempt)
        self.hold(attempt.key, attempt.exited())
        close(attempt.report)

    def hold(self, key: Key, message: list[Any]) -> None:
        """Tell an ending, and keep it until it is recorded."""
        self.held[key] = message
        self.channel.send(message)
        crash and crash("reap.held")

    def on_keeper_gone(self) -> None:
        """Nobody holds us any more: leave nothing behind."""
        for attempt in self.running.values():
            tree.signal_group(attempt.pid, _SIGKILL)
        self.reaper.end_all()
        _exit(0)
