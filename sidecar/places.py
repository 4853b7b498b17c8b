"""Where things are on this machine: the runtime folder with the sockets, the state folder with the store.

Pure: takes the environment and the uid, touches nothing. Clients and `serve` share it, so that they meet.
"""

from __future__ import annotations

from collections.abc import Mapping

HANDOFF = "handoff.sock"
CONTROL = "control.sock"
SPOOL = "spool"


def runtime_dirs(environ: Mapping[str, str], uid: int) -> list[str]:
    """Return the runtime folders in which a client looks, best first: its own user's, then the system's.

    `SIDECAR_RUNTIME_DIR` names the only one.
    """
    named = environ.get("SIDECAR_RUNTIME_DIR")
    if named:
        return [named]
    found = ["/run/sidecar"] if uid == 0 else []
    session = environ.get("XDG_RUNTIME_DIR")
    if session:
        found.append(f"{session}/sidecar")
    found += [f"/run/user/{uid}/sidecar", f"/tmp/sidecar-{uid}"]
    if uid != 0:
        found.append("/run/sidecar")
    return list(dict.fromkeys(found))


def runtime_dir(environ: Mapping[str, str], uid: int, session_exists: bool) -> str:
    """Return the runtime folder in which `serve` binds; `session_exists` says whether /run/user/<uid> is there."""
    named = environ.get("SIDECAR_RUNTIME_DIR")
    if named:
        return named
    if uid == 0:
        return "/run/sidecar"
    session = environ.get("XDG_RUNTIME_DIR")
    if session:
        return f"{session}/sidecar"
    return f"/run/user/{uid}/sidecar" if session_exists else f"/tmp/sidecar-{uid}"


def state_dir(environ: Mapping[str, str], uid: int) -> str:
    """Return the state folder: `SIDECAR_STATE_DIR`, else the system's for root, the user's for others."""
    named = environ.get("SIDECAR_STATE_DIR")
    if named:
        return named
    if uid == 0:
        return "/var/lib/sidecar"
    home = environ.get("XDG_STATE_HOME") or f"{environ.get('HOME') or '/'}/.local/state"
    return f"{home}/sidecar"
