"""Where a client finds its daemon: the first runtime folder in which the socket is, and whom to ask when it may not.

`places` says where to look; this looks. A folder under /tmp is believed only when it is ours: anybody can make
/tmp/sidecar-<uid> first, and would be handed every job.
"""

from __future__ import annotations

import os
import stat

from ..errors import NotAllowed, Unavailable
from ..places import SPOOL, runtime_dirs, state_dir


def socket_path(name: str, runtime_dir: str | None) -> str:
    """Return the path of the socket `name`. Raises Unavailable when no folder has one."""
    folders = folders_of(runtime_dir)
    for folder in folders:
        path = f"{folder}/{name}"
        try:
            os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            pass  # it may be there: connecting tells what is wrong
        if is_trusted(folder):
            return path
    raise Unavailable(f"cannot reach sidecar: no {name} in {' or '.join(folders)}, is `sidecar serve` running?")


def folders_of(runtime_dir: str | None) -> list[str]:
    """Return the runtime folders to look in, best first."""
    return [runtime_dir] if runtime_dir else runtime_dirs(os.environ, os.geteuid())


def is_trusted(folder: str) -> bool:
    """Tell whether what is in this folder may be believed."""
    uid = os.geteuid()
    if folder != f"/tmp/sidecar-{uid}":
        return True
    try:
        status = os.lstat(folder)
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == uid


def spool_folders(runtime_dir: str | None) -> list[str]:
    """Return where a spool may be, best first: what a running keeper linked to, then the state folders."""
    linked = [f"{folder}/{SPOOL}" for folder in folders_of(runtime_dir) if is_trusted(folder)]
    uid = os.geteuid()
    kept = [f"{state_dir(os.environ, uid)}/{SPOOL}"]
    if uid != 0 and not os.environ.get("SIDECAR_STATE_DIR"):
        kept.append(f"{state_dir({}, 0)}/{SPOOL}")
    return linked + kept


def not_allowed(path: str) -> NotAllowed:
    """Make the error for a socket that the kernel does not let us use; it names the group that may."""
    group = _group_of(path)
    cure = (
        f"join group {group!r} and restart the web server after joining it"
        if group
        else "do it as its owner, or run a `sidecar serve` of your own"
    )
    return NotAllowed(f"cannot use {path}: its permissions keep user {os.geteuid()} out, {cure}")


def _group_of(path: str) -> str | None:
    import grp

    for place in (path, os.path.dirname(path)):
        try:
            status = os.stat(place)
        except OSError:
            continue
        if not status.st_mode & stat.S_IRWXG:
            return None  # for its owner alone: no group would help
        try:
            return grp.getgrgid(status.st_gid).gr_name
        except KeyError:
            return str(status.st_gid)
    return None
