"""What attempts write: read as it comes, kept as a tail, passed on to the daemon where somebody follows.

That a pipe ends says nothing about a job's life: who wrote may have closed it and go on, or have left it to others.
"""

from __future__ import annotations

from os import close
from select import EPOLLIN, epoll

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .attempt import Attempt, Key
    from .channel import Channel


class Outputs:
    """The pipes that are read, of attempts and of spares."""

    def __init__(self, poll: epoll, channel: Channel, running: dict[Key, Attempt]) -> None:
        self.poll = poll
        self.channel = channel
        self.running = running
        self.of: dict[int, Attempt] = {}  # by the pipe

    def open(self, attempt: Attempt) -> None:
        """Hear of what it writes."""
        self.of[attempt.output] = attempt
        self.poll.register(attempt.output, EPOLLIN)

    def on_event(self, attempt: Attempt, what: int) -> None:
        """Keep what was written; once per round, so that a flood costs its share and no more."""
        data = attempt.read_output() if what & EPOLLIN else None  # else every writer is gone, and all was read
        if data is None:
            self.close(attempt)
        elif data:
            self._tell(attempt, data)

    def finish(self, attempt: Attempt) -> None:
        """Keep what is left to read of an attempt that is over."""
        if attempt.output >= 0:
            attempt.drain_output(self._tell)
            self.close(attempt)

    def close(self, attempt: Attempt) -> None:
        """Stop reading: every writer is gone, or the attempt is over."""
        if attempt.output >= 0:
            self.poll.unregister(attempt.output)  # before it is closed: a later child inherits it, events would come
            del self.of[attempt.output]
            close(attempt.output)
            attempt.output = -1

    def told_follow(self, key: list[int]) -> None:
        """Send the tail now and whatever is written from now on."""
        attempt = self.running.get((key[0], key[1]))
        if attempt is not None:
            attempt.followed = True
            self.channel.send(["output", key, *attempt.written()], droppable=True)

    def told_tail(self, key: list[int], ticket: int) -> None:
        """Answer with the tail of a running attempt, None when it is not here."""
        attempt = self.running.get((key[0], key[1]))
        self.channel.send(["tail", ticket, *((None, 0) if attempt is None else attempt.written())])

    def _tell(self, attempt: Attempt, data: bytes) -> None:
        """Pass on the last that was written, with its place in all that was."""
        if attempt.followed:
            assert attempt.tail is not None
            place = attempt.tail.written - len(data)
            self.channel.send(["output", list(attempt.key), data, place], droppable=True)
