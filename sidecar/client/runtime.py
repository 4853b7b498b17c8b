"""The runtime record: what a job needs to find its code where the submitting process finds it (design 5.1).

Made once per process and made again only when `sys.path`, the working folder or Django's readiness changed. These
three are looked at with every submit, because a job that runs with the folder of before is worse than the 0.7 µs.
A changed environment variable alone does not make a new record.

A deployed application often stands in a link (`current`) that is flipped to the next release under the running server.
Jobs shall then find the new release, code and folder: so the working folder is taken as `$PWD` spells it, and what of
`sys.path` lies in it is spelled likewise (Python resolves the folder of a script). The spelling is looked up when the
client is imported: at the first submit the link may lead elsewhere already.
"""

from __future__ import annotations

import os
import sys

from .pack import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

_getcwd = os.getcwd
_modules = sys.modules


class Record:
    """A packed record, and what was true when it was made. Compared by identity."""

    __slots__ = ("cwd", "django", "folder", "packed", "path")

    def __init__(self, packed: bytes, folder: str | None, path: list[str], cwd: str, django: bool) -> None:
        self.packed = packed
        self.folder = folder  # the working folder as a person would spell it; None when it is gone
        self.path = path
        self.cwd = cwd
        self.django = django


_record: Record | None = None


def current() -> Record:
    """Return the record of this process as it is now; the same object while nothing has changed."""
    record = _record
    try:
        cwd = _getcwd()
    except OSError:
        cwd = ""
    if (
        record is None
        or cwd != record.cwd
        or sys.path != record.path
        or ("django.apps" in _modules and _django_ready() is not record.django)
    ):
        return _renew(cwd)
    return record


def _django_ready() -> bool:
    return bool(getattr(getattr(_modules.get("django.apps"), "apps", None), "ready", False))


def _renew(cwd: str) -> Record:
    global _record
    path, django = list(sys.path), _django_ready()
    folder = _spelled_at_import if cwd == _cwd_at_import else spelled_folder(cwd, os.environ.get("PWD"))
    spelled = [spelled_entry(entry, cwd, folder) for entry in path]
    _record = Record(plain(make(spelled, folder, os.environ, django)), folder, path, cwd, django)
    return _record


def spelled_entry(entry: object, cwd: str, folder: str | None) -> object:
    """Return an entry of `sys.path` that is the working folder, or lies in it, as the folder is spelled."""
    if folder and cwd and isinstance(entry, str) and (entry == cwd or entry.startswith(cwd + "/")):
        return folder + entry[len(cwd) :]
    return entry


def make(path: Iterable[object], folder: str | None, environ: Mapping[str, str], django: bool) -> dict[str, Any]:
    """Return the record as a map; a field without a value is absent."""
    record: dict[str, Any] = {"kind": "python", "interpreter": interpreter(sys.executable, sys.prefix)}
    record["path"] = own_path(path, folder, (sys.prefix, sys.base_prefix))
    if folder is not None:
        record["cwd"] = folder
    env = forwarded(environ)
    if env:
        record["env"] = env
    if django and "DJANGO_SETTINGS_MODULE" in env:  # without it (settings.configure) setup could only fail there
        record["setup"] = "django:setup"
    return record


def interpreter(executable: str | None, prefix: str) -> str:
    """Return the Python that a job should use: ours, unless a server that embeds Python put its own name there.

    uWSGI and mod_wsgi set `sys.executable` to themselves; their `sys.prefix` is right.
    """
    if executable and os.path.basename(executable).startswith(("python", "pypy")):
        return os.path.abspath(executable)
    for name in (f"python{sys.version_info[0]}.{sys.version_info[1]}", "python3", "python"):
        found = f"{prefix}/bin/{name}"
        if os.access(found, os.X_OK):
            return found
    return os.path.abspath(executable) if executable else "/usr/bin/python3"


def own_path(path: Iterable[object], folder: str | None, prefixes: Iterable[str]) -> list[str]:
    """Return the entries of `sys.path` that the interpreter would not find by itself, absolute, in order.

    What it finds are the library folders of its prefixes and no more: with prefix /usr/local (the official images)
    an application in /usr/local/src must go along. So must a user's site-packages: jobs start with `-I`.
    """
    known = tuple(f"{prefix}/{lib}/python" for prefix in prefixes for lib in ("lib", "lib64", "local/lib", "lib/pypy"))
    entries = []
    for entry in path:
        if isinstance(entry, str) and not entry.startswith(known):
            absolute = _absolute(entry, folder)
            if absolute is not None and absolute not in entries:
                entries.append(absolute)
    return entries


def _absolute(entry: str, folder: str | None) -> str | None:
    if not entry.startswith("/"):
        if folder is None:
            return None
        entry = os.path.normpath(f"{folder}/{entry}") if entry not in ("", ".") else folder
    return entry if _is_text(entry) else None


def _is_text(path: str) -> bool:
    """Tell whether the daemon would take this path: UTF-8, no NUL, not endless."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in path and len(path) <= 4096


def spelled_folder(folder: str, spelled: str | None) -> str | None:
    """Return `$PWD`'s spelling when it is the same folder: `/srv/app/current` stays a link, and follows the deploy."""
    if not folder:
        return None
    if spelled and spelled.startswith("/") and spelled != folder and _is_text(spelled):
        try:
            if os.path.samestat(os.stat(spelled), os.stat(folder)):
                return spelled
        except OSError:
            pass
    return folder if _is_text(folder) else None


def forwarded(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that go along: Django's settings, and those that SIDECAR_FORWARD_ENV names."""
    names = ["DJANGO_SETTINGS_MODULE", *environ.get("SIDECAR_FORWARD_ENV", "").replace(",", " ").split()]
    return {name: environ[name] for name in names if name in environ and _is_value(environ[name])}


def _is_value(text: str) -> bool:
    return "\0" not in text


def _working_folder() -> str:
    try:
        return _getcwd()
    except OSError:
        return ""


_cwd_at_import = _working_folder()
_spelled_at_import = spelled_folder(_cwd_at_import, os.environ.get("PWD"))
