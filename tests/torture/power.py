"""Power loss: one real daemon's writes are recorded, and the disks that a power cut could leave are opened again.

The recording is of a sidecar under load of all acks, whose daemon and keeper are killed a few times meanwhile (a
recovery must not lose what its predecessor had synced), and of its regular end. Then, for cuts at random places of the
record, half of them the moment after an ack or a start: what could be found (disk.py) is opened by the real recovery,
and must be

    sound       it opens, and SQLite's integrity check agrees
    complete    every job is there whose `synced` ack its client had by then; of the other acks nothing is promised
    truthful    no job that is to start at most once, and has, could be started again

The controls replay the same record for a disk that lies about every sync, and for a daemon without its own sync.
"""

from __future__ import annotations

import bisect
import os
import random
import shutil
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from sidecar.errors import SidecarError
from sidecar.store import Store

from ..waiting import eventually
from . import recorder
from .disk import WAYS, Disk, Entry, read_record
from .house import UP, House
from .ledger import ONCE, Ack, Row, Run, read_acks, read_runs, read_store

LIES = ("lying", "deaf")  # disk.py says what they are
_MEMORY = Path("/dev/shm")  # where the found disks are laid out: the recovery's own syncs cost nothing there
_STATES_A_CUT = 4
_KEPT = 3  # wrong states are kept for a look at them, the first few


class Found(NamedTuple):
    """What is wrong with one state of the disk."""

    unsound: bool
    missing: set[bytes]  # promised, and not there
    startable: set[bytes]  # started already, never to be started twice, and could be

    def __str__(self) -> str:
        if self.unsound:
            return "is unsound"
        return f"lacks {len(self.missing)} synced jobs, would start {len(self.startable)} jobs a second time"


class Recording(NamedTuple):
    """What happened to the files; which jobs were promised, and which of those that may start once did, and when."""

    entries: list[Entry]
    promised: list[Ack]
    begun: list[Run]
    state: str

    def wrong(self, place: int, known: dict[bytes, Row] | None) -> Found:
        """Compare what a recovered store holds (None: it is unsound) with what must be there after a cut at `place`."""
        if known is None:
            return Found(True, set(), set())
        unstarted = {id for id, row in known.items() if row.attempts == 0}
        return Found(
            False,
            {ack.id for ack in self.promised if ack.stamp <= place} - known.keys(),
            {run.id for run in self.begun if run.stamp <= place} & unstarted,
        )


class Tally(NamedTuple):
    """What all states came to: how many of them there were, and how many were wrong in which way."""

    states: int
    promised: int
    begun: int
    unsound: int
    missing: int
    startable: int

    @property
    def faults(self) -> int:
        """Return how many states were wrong."""
        return self.unsound + self.missing + self.startable

    def counting(self, found: Found) -> Tally:
        """Count one more state."""
        ways = (found.unsound, bool(found.missing), bool(found.startable))
        return Tally(self.states + 1, self.promised, self.begun, *(a + b for a, b in zip(self[3:], ways, strict=True)))


def record(seconds: float, seed: int, acks: str, kills: int = 3) -> Recording:
    """Run a sidecar for about so long and return what its daemons wrote."""
    dice = random.Random(f"{seed}/power")
    house = House(held=True)
    log = house.folder / "record"
    log.touch()
    house.env.update(recorder.under(recorder.build(house.folder), house.daemon_module, house.state, log))
    try:
        house.start()
        house.load(4, dice, "--acks", acks, "--rate", "60", "--record", str(log))
        for _ in range(kills):
            time.sleep(seconds / (kills + 1))
            eventually(lambda: house.kill_one(dice.choice(("daemon", "daemon", "keeper")), dice), UP)
            house.keep_alive()
        time.sleep(seconds / (kills + 1))
        house.end_load()
        house.calm()
        house.stop()
        promised = [ack for ack in read_acks(house.acks) if ack.word == "synced"]
        once = {row.id for row in read_store(house.state).values() if row.queue == ONCE}
        begun = [run for run in read_runs(house.runs) if run.id in once and run.stamp]
        return Recording(list(read_record(log)), promised, begun, str(house.state))
    finally:
        house.close()


def examine(given: Recording, states: int, seed: int, lie: str = "") -> Tally:
    """Cut the power so often and open what is found; with a lie, only until something is lost."""
    dice = random.Random(f"{seed}/{lie}")
    disk = Disk(lie)
    total = Tally(0, len(given.promised), len(given.begun), 0, 0, 0)
    cuts = _cuts(given, states, dice)
    with tempfile.TemporaryDirectory(prefix="sc-", dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        for number, entry in enumerate(given.entries):
            disk.replay(entry)
            for _ in range(cuts.get(number, 0)):
                way = dice.choice(WAYS)
                files = disk.after_cut(way, dice)
                found = given.wrong(entry.end, _open(files, given.state, Path(folder)))
                total = total.counting(found)
                if any(found) and lie:
                    return total
                if any(found) and total.faults <= _KEPT:
                    print(f"power: seed {seed}, cut after {number} ({way}): {found}; see {_keep(files)}", flush=True)
    return total


def control(given: Recording, seed: int, lie: str, states: int = 200) -> int:
    """Return the states until a disk's lie showed, 0 for never."""
    found = examine(given, states, seed, lie)
    return found.states if found.faults else 0


def _cuts(given: Recording, states: int, dice: random.Random) -> dict[int, int]:
    """Return after which entries the power is cut, and how many states of each are looked at."""
    ends = [entry.end for entry in given.entries]
    moments = [ack.stamp for ack in given.promised] + [run.stamp for run in given.begun]
    cuts: dict[int, int] = {}
    for number in range(0, states, _STATES_A_CUT):
        if number // _STATES_A_CUT % 2 and moments:
            at = bisect.bisect_right(ends, dice.choice(moments)) - 1
        else:
            at = dice.randrange(len(ends))
        cuts[at] = cuts.get(at, 0) + min(_STATES_A_CUT, states - number)
    return cuts


def _open(files: dict[str, bytes], state: str, folder: Path) -> dict[bytes, Row] | None:
    """Lay the files out, recover, and return what is in the store; None when it is unsound."""
    shutil.rmtree(folder)
    folder.mkdir()
    for path, content in files.items():
        head, _, name = path.rpartition("/")
        if head == state:
            (folder / name).write_bytes(content)
    try:
        Store(str(folder)).close()
        return read_store(folder)
    except (SidecarError, sqlite3.Error):
        return None


def _keep(files: dict[str, bytes]) -> str:
    """Keep what was found, for a look at it."""
    folder = tempfile.mkdtemp(prefix="torture-power-")
    for path, content in files.items():
        Path(folder, os.path.basename(path)).write_bytes(content)
    return folder
