"""Crash points: named places between two steps at which a process of ours can be told to die.

They are how it is proven that nothing is lost between any two steps (tests/torture): what a random SIGKILL would hit
once in a million, a name hits each time.

    SIDECAR_CRASH_AT=<name>[:n]   who passes <name> for the n-th time (1 if not said), or later, dies as by SIGKILL
    SIDECAR_CRASH_MARK=<file>     made by the one who dies; while it is there, nobody does. Without it all die, for ever
    SIDECAR_CRASH_AT=?            nobody dies; every name that is passed is noted in the mark

Off, which is always but in tests, `crash` is None: what is left of a point is one look at a name, and no call.
A point is one line, `crash and crash("commit.done")`, and its name stands in POINTS.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# What is true when each is passed. The first word is not the process: a job's way leads through all three.
POINTS = {
    # keeper
    "keeper.bound": "the sockets take hand-offs, nobody reads them",
    "keeper.spawned": "a daemon was started, and not heard of yet",
    "keeper.go": "a daemon that has loaded waits for its go",
    "keeper.daemon_reaped": "a daemon is gone, the next one not started",
    "keeper.zygote_started": "a zygote was started, no daemon knows of it",
    "keeper.zygote_reaped": "a zygote is gone, its orphans live",
    "keeper.swept": "its orphans are gone, no daemon has heard of it",
    # daemon: beginning
    "open.opened": "the store is open, not checkpointed",
    "open.recovered": "queue and running jobs are taken over from the daemon before",
    # daemon: intake
    "intake.peeked": "datagrams are read and still in the kernel, nothing is stored",
    "intake.stored": "they are stored, and still in the kernel",
    "intake.consumed": "they are dropped from the kernel",
    "intake.read": "submits were read from a stream, nothing is stored",
    "intake.spooled": "spool files are stored, and still there",
    # daemon: commit, sync, checkpoint, ack
    "commit.begun": "changes and claims are in the transaction",
    "commit.done": "they are committed, nobody was told",
    "sync.begun": "somebody waits for the disk, nothing is synced",
    "sync.done": "the log is on the disk, nobody was told",
    "ack.sent": "the acks of a connection's submits are written",
    "checkpoint.begun": "the log is about to be moved into the file",
    "checkpoint.done": "it was moved",
    # daemon: claim, record
    "claim.committed": "attempts are counted, and no zygote was told",
    "claim.synced": "starts that must not happen twice are on the disk, and no zygote was told",
    "claim.told": "the zygotes were told to start them",
    "record.heard": "an attempt is known to have ended, nothing is written",
    "record.committed": "its ending is committed, its zygote still holds it",
    # zygote
    "spawn.told": "told to start an attempt, not forked",
    "spawn.forked": "the attempt runs, and is in no book",
    "spawn.booked": "it is in the book",
    "reap.gone": "its main process has ended, and is not reaped",
    "reap.reaped": "it is reaped, its tree not swept",
    "reap.held": "its ending is held, and on its way to the daemon",
    "reap.forgotten": "the daemon has recorded it, it is held no more",
}


def armed(environ: Mapping[str, str]) -> Callable[[str], object] | None:
    """Return what a point calls, None when nothing is to happen at any."""
    wanted, _, number = environ.get("SIDECAR_CRASH_AT", "").partition(":")
    if not wanted:
        return None
    mark = environ.get("SIDECAR_CRASH_MARK", os.devnull)
    return _noting(mark) if wanted == "?" else _crashing(wanted, int(number or 1), mark)


def _crashing(wanted: str, number: int, mark: str) -> Callable[[str], object]:
    passed = 0

    def crash(name: str) -> None:
        nonlocal passed
        if name != wanted:
            return
        passed += 1
        if passed < number or not _is_first(mark):
            return
        os.kill(os.getpid(), 9)  # SIGKILL; the signal module costs every fork of a zygote its pages

    return crash


def _is_first(mark: str) -> bool:
    if mark == os.devnull:
        return True
    try:
        os.close(os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    return True


def _noting(mark: str) -> Callable[[str], object]:
    noted = set()

    def note(name: str) -> None:
        if name not in noted:
            noted.add(name)
            fd = os.open(mark, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.write(fd, name.encode() + b"\n")
            os.close(fd)

    return note


crash = armed(os.environ)
