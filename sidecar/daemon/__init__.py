"""The daemon: takes jobs in, stores them, decides who runs next, records how it ended. The only room with trio.

It may be killed at any moment and a next one goes on: sockets and zygotes are the keeper's, jobs are the store's. It
never forks. The rooms, in the order in which a job meets them:

    datagrams.py  connection.py  spool.py     the three doors: how bytes arrive, and what is done once they are stored
    listener.py  handlers.py  outgoing.py     clients on the control socket, one function per verb, their answers
    intake.py  quarantine.py                  bytes to jobs: admitted, checked; what may have killed a daemon
    writer.py                                 the one task that changes the store: group commit
    syncer.py  space.py                       what is on the disk, and what is left of it
    dispatcher.py  turns.py                   who goes next, and what has come due
    zygote.py  zygotes.py  attempts.py        who runs it, and what its ending means
    unfit.py  overdue.py  warming.py          who cannot start, does not tell an ending in time, has its module imported
    watch.py  views.py                        who waits for a job, and how it looks from outside
    keeper.py  janitor.py                     the line to the keeper, the caretaking
    opening.py  life.py  tick.py              until the store is open; the whole from start to end; an end by itself
"""

from __future__ import annotations


def main() -> None:
    """Run the daemon of the keeper that started us; the fds come by name."""
    from .life import run

    run()
