"""A disk that can lose power: replays a record of writes (recorder.c), and says what could be found afterwards.

What a program wrote is *pending* until a sync of that file has ended that began after it; a name (creation, rename,
removal) is pending until a sync of its folder. A power cut keeps everything that is not pending, and of the rest

    nothing    the cut came before anything was written back
    some       any of the writes: write-back knows no order
    torn       any 512-byte sectors of any of the writes
    first      the first of them, in order
    all        as if only the program had been killed

and of the pending names, independently, none, any, the first ones, or all. That is POSIX at its word; real file systems
do more. A *lying* disk is the control: it calls syncs done and does nothing, or (`deaf`) only for descriptors that
cannot write, which are those of our own syncs, as if we had left them out.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_HEAD = struct.Struct("<BBHIQQ")
_IS_FOLDER, _READ_ONLY = 1, 2
SECTOR = 512
WAYS = ("nothing", "some", "torn", "first", "all")


class Entry(NamedTuple):
    """One thing that happened to the files; `end` is where its record ends."""

    what: str
    flags: int
    path: str
    data: bytes
    file: int
    at: int
    end: int


class Change(NamedTuple):
    """One change of a file that may be lost: `data` at `at`, or with None a new size."""

    at: int
    data: bytes | None


def read_record(path: Path) -> Iterator[Entry]:
    """Yield what was recorded; an entry that its writer's death left incomplete ends it."""
    data = path.read_bytes()
    place = 0
    while place + _HEAD.size <= len(data):
        what, flags, path_size, size, file, at = _HEAD.unpack_from(data, place)
        place += _HEAD.size
        end = place + path_size + size
        if end > len(data):
            return
        yield Entry(chr(what), flags, os.fsdecode(data[place : place + path_size]), data[place + path_size : end],
                    file, at, end)  # fmt: skip
        place = end


class File:
    """What the program reads, what the disk holds for sure, and what lies between."""

    def __init__(self) -> None:
        self.seen = bytearray()
        self.held = bytearray()
        self.pending: list[Change] = []
        self.settled = 0  # how many changes are no longer pending: a sync counts from the file's beginning

    def change(self, change: Change) -> None:
        """Note a change."""
        apply(self.seen, change)
        self.pending.append(change)

    def sync(self, until: int) -> None:
        """Put on the disk what had been changed when the sync began."""
        count = until - self.settled
        if count > 0:
            for change in self.pending[:count]:
                apply(self.held, change)
            del self.pending[:count]
            self.settled = until

    def become(self, content: bytes) -> None:
        """Note what it really is: what its last writer did as it died may not have been recorded."""
        for at in range(0, len(content), SECTOR):
            if self.seen[at : at + SECTOR] != content[at : at + SECTOR]:
                self.change(Change(at, content[at : at + SECTOR]))
        if len(self.seen) != len(content):
            self.change(Change(len(content), None))

    def after_cut(self, way: str, dice: random.Random) -> bytes:
        """Return what it could hold after a power cut."""
        found = bytearray(self.held)
        for change in _kept(self.pending, way, dice):
            apply(found, change)
        return bytes(found)


def apply(content: bytearray, change: Change) -> None:
    """Change a file's content."""
    at, data = change
    if data is None:
        del content[at:]
        content.extend(bytes(at - len(content)))
    else:
        content.extend(bytes(max(0, at - len(content))))
        content[at : at + len(data)] = data


def _kept(pending: list[Change], way: str, dice: random.Random) -> list[Change]:
    if way in ("nothing", "all"):
        return pending if way == "all" else []
    if way == "first":
        return pending[: dice.randint(0, len(pending))]
    odds = dice.choice((0.1, 0.5, 0.9))
    sectors = pending if way == "some" else [sector for change in pending for sector in _sectors(change)]
    return [change for change in sectors if dice.random() < odds]


def _sectors(change: Change) -> Iterator[Change]:
    if change.data is None:
        yield change
        return
    place, end = change.at, change.at + len(change.data)
    while place < end:
        edge = min(end, (place // SECTOR + 1) * SECTOR)
        yield Change(place, change.data[place - change.at : edge - change.at])
        place = edge


class Name(NamedTuple):
    """One change of names that may be lost: `to` becomes `file` (None: nothing), which was called `before`."""

    to: str
    file: File | None
    before: str = ""


class Disk:
    """All files of a folder and their names. `lie` is "" for an honest disk, "lying" or "deaf" for the controls."""

    def __init__(self, lie: str = "") -> None:
        self._lie = lie
        self._files: dict[int, File] = {}  # by inode number, as of now
        self._folders: dict[int, str] = {}
        self._now: dict[str, File] = {}
        self._names: dict[str, File] = {}  # what the disk holds for sure
        self._pending: list[Name] = []
        self._syncs: dict[tuple[int, int], int | list[Name]] = {}  # by file and number: what was there when it began

    def replay(self, entry: Entry) -> None:
        """Let one more thing happen."""
        getattr(self, f"_on_{entry.what}")(entry)

    def _on_C(self, entry: Entry) -> None:
        self._files[entry.file] = self._now[entry.path] = File()
        self._pending.append(Name(entry.path, self._now[entry.path]))

    def _on_O(self, entry: Entry) -> None:
        if entry.flags & _IS_FOLDER:
            self._folders[entry.file] = entry.path.rstrip("/")
            return
        if entry.path not in self._now:  # here before us: who made it had the time to sync it
            self._names[entry.path] = self._now[entry.path] = File()
        self._files[entry.file] = self._now[entry.path]
        self._now[entry.path].become(entry.data)

    def _on_W(self, entry: Entry) -> None:
        self._files[entry.file].change(Change(entry.at, entry.data))

    def _on_T(self, entry: Entry) -> None:
        self._files[entry.file].change(Change(entry.at, None))

    def _on_R(self, entry: Entry) -> None:
        moved = self._now.pop(entry.path, None)
        if moved is not None:
            to = os.fsdecode(entry.data)
            self._now[to] = moved
            self._pending.append(Name(to, moved, entry.path))

    def _on_U(self, entry: Entry) -> None:
        if self._now.pop(entry.path, None) is not None:
            self._pending.append(Name(entry.path, None))

    def _on_S(self, entry: Entry) -> None:
        if entry.flags & _IS_FOLDER:
            folder = self._folders[entry.file]
            self._syncs[entry.file, entry.at] = [name for name in self._pending if os.path.dirname(name.to) == folder]
        elif entry.file in self._files:
            file = self._files[entry.file]
            self._syncs[entry.file, entry.at] = file.settled + len(file.pending)

    def _on_E(self, entry: Entry) -> None:
        before = self._syncs.pop((entry.file, entry.at), None)
        if self._lie == "lying" or (self._lie == "deaf" and entry.flags == _READ_ONLY):
            return
        if isinstance(before, int):
            self._files[entry.file].sync(before)
        for name in before if isinstance(before, list) else ():
            if name in self._pending:
                self._pending.remove(name)
                _rename(self._names, name)

    def after_cut(self, way: str, dice: random.Random) -> dict[str, bytes]:
        """Return the files that could be found after a power cut now, by path."""
        names = dict(self._names)
        for name in self._names_kept(dice):
            _rename(names, name)
        return {path: file.after_cut(way, dice) for path, file in names.items()}

    def _names_kept(self, dice: random.Random) -> list[Name]:
        way = dice.choice(("nothing", "some", "first", "all"))
        if way == "some":
            return [name for name in self._pending if dice.random() < 0.5]
        return self._pending[: {"nothing": 0, "first": dice.randint(0, len(self._pending))}.get(way)]


def _rename(names: dict[str, File], name: Name) -> None:
    if name.before:
        names.pop(name.before, None)
    if name.file is None:
        names.pop(name.to, None)
    else:
        names[name.to] = name.file
