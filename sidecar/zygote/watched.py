"""The files that warm code came from, looked at before a job is forked: no job runs code that was changed.

Looking at a file costs 2 to 4 µs, and an application loads hundreds. So what is the application's own is looked at each
time, at most every 50 ms; of what is installed with the interpreter each folder is, which changes with every file that
an installer replaces, and each file once a second, for the edit of a library in place.

It knows files, no jobs. A path is looked at as it is spelled: a link (`current`) that leads elsewhere is a change.
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

_SOON, _LATER = 0.05, 1.0  # seconds for which a look is good
_LIBRARIES = ("lib", "lib64", "local/lib", "lib/pypy")
_TICK = 0.01  # seconds by which a file's time may lag behind the clock

Mark = tuple[int, int, int]


class Files:
    """Some files, and how they were."""

    def __init__(self, own: set[str], installed: set[str], began: float) -> None:
        """Look at them; `began` is when the first of them was read (Unix seconds)."""
        folders = {os.path.dirname(path) for path in installed}
        self._soon = _look(own | folders)
        self._later = _look(installed)
        self.changed = self._changed_since(began, own)
        self._looked_soon = self._looked_later = time.monotonic()

    @classmethod
    def of(cls, modules: Iterable[Any], began: float) -> Files:
        """Look at the files of modules."""
        return cls(*_files_of(modules), began)

    def _changed_since(self, began: float, paths: Iterable[str]) -> bool:
        """Tell whether one was written while it may have been read: we cannot know which text is in memory."""
        first, last = (int(at * 1e9) for at in (began - _TICK, time.time() + _TICK))
        return any(mark is not None and first <= mark[0] <= last for mark in map(self._soon.get, paths))

    def look(self) -> bool:
        """Return whether any has changed, by a look that is not older than the limits above."""
        now = time.monotonic()
        if not self.changed and now - self._looked_soon > _SOON:
            self._looked_soon = now
            self.changed = not _same(self._soon)
        if not self.changed and now - self._looked_later > _LATER:
            self._looked_later = now
            self.changed = not _same(self._later)
        return self.changed


def _files_of(modules: Iterable[Any]) -> tuple[set[str], set[str]]:
    """Return the paths of what is the application's own, and of what is installed."""
    folders = tuple(f"{prefix}/{lib}/python" for prefix in (sys.prefix, sys.base_prefix) for lib in _LIBRARIES)
    own: set[str] = set()
    installed: set[str] = set()
    for module in modules:
        path = getattr(module, "__dict__", {}).get("__file__")  # getattr would wake modules that load when touched
        if isinstance(path, str) and path.startswith("/"):
            (installed if path.startswith(folders) else own).add(_existing(path))
    return own, installed


def _existing(path: str) -> str:
    """Return the path, or the archive that it leads into."""
    while not os.path.exists(path) and path != "/":
        path = os.path.dirname(path)
    return path


def _mark(path: str) -> Mark | None:
    try:
        about = os.stat(path)
    except OSError:
        return None
    return about.st_mtime_ns, about.st_ino, about.st_size


def _look(paths: Iterable[str]) -> dict[str, Mark | None]:
    return {path: _mark(path) for path in paths}


def _same(marks: dict[str, Mark | None]) -> bool:
    return all(_mark(path) == mark for path, mark in marks.items())
