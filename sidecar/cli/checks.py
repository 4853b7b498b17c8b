"""What `doctor` sees of the daemon: its sockets, its answer, two jobs that do nothing, its disk.

One function a look: each says what it found, and how to mend what is wrong. What needs the daemon takes its answer to
`ping`, so that a missing daemon is said once. They look from where the asker stands, as this user.
"""

from __future__ import annotations

import os
import socket
from typing import Any, NamedTuple

from .. import __version__
from ..client import Handle, options, where
from ..errors import NoSpace, SidecarError
from ..places import CONTROL, HANDOFF
from .asking import ask
from .showing import duration, printable, size

PATIENCE = 10.0  # seconds for a job that does nothing
ROOM = 256 * 1024 * 1024  # bytes below which a disk counts as nearly full
_MAKE_ROOM = "make room: no new job is accepted, and it goes on by itself when there is more"


class Finding(NamedTuple):
    """What one look found; `cure` is what to do about it, "" when it is well."""

    name: str
    ok: bool
    text: str
    cure: str = ""


def runtime_folder() -> Finding:
    """Look for the folder in which programs meet the daemon."""
    name = "runtime folder"
    try:
        folder = os.path.dirname(where.socket_path(CONTROL, None))
    except SidecarError:
        looked = ", ".join(where.folders_of(None))
        return Finding(
            name, False, f"no {CONTROL} in {looked}",
            "start `sidecar serve`, or set SIDECAR_RUNTIME_DIR to the folder that it named",
        )  # fmt: skip
    chosen = " (SIDECAR_RUNTIME_DIR)" if os.environ.get("SIDECAR_RUNTIME_DIR") else ""
    return Finding(name, True, folder + chosen)


def handoff_socket() -> Finding:
    """Connect to the datagram socket; nothing is sent."""
    name = "hand-off socket"
    try:
        path = where.socket_path(HANDOFF, None)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            door.connect(path)
    except PermissionError:
        return Finding(name, False, f"{path} keeps us out", str(where.not_allowed(path)))
    except OSError as error:
        return Finding(name, False, f"{path}: {error.strerror}", "start `sidecar serve`, nobody holds this socket")
    except SidecarError as error:
        return Finding(name, False, str(error), "start `sidecar serve`")
    return Finding(name, True, path)


def daemon_answers(ping: dict[str, Any] | SidecarError) -> Finding:
    """Say whether the daemon answered at all."""
    name = "daemon"
    if isinstance(ping, NoSpace):
        return Finding(name, False, str(ping), _MAKE_ROOM)
    if isinstance(ping, SidecarError):
        return Finding(name, False, str(ping), "start `sidecar serve`; when it runs, its stderr says what is wrong")
    return Finding(
        name, True, f"process {ping['pids']['daemon']}, up {duration(ping['uptime'])}, ends trees by {ping['tree']}"
    )


def admission(ping: dict[str, Any]) -> Finding:
    """Say as whom the kernel shows us, and whether that one may submit."""
    name, uid = "admitted", ping["user"]
    if ping["allowed"]:
        return Finding(name, True, f"as uid {uid}")
    return Finding(name, False, f"not as uid {uid}", "run this as the user who runs `sidecar serve`, or serve as root")


def versions(ping: dict[str, Any]) -> Finding:
    """Compare our version with the daemon's."""
    name = "version"
    if ping["version"] == __version__:
        return Finding(name, True, f"{__version__} here and in the daemon")
    cure = "run `sidecar reload` when this one is the newer, else install the daemon's in this Python"
    return Finding(name, False, f"{__version__} here, {ping['version']} in the daemon", cure)


def call_runs() -> Finding:
    """Run a function of the standard library, through everything."""
    return _runs("call", "os:getpid", "look at the zygotes: sidecar ping; and at the log of `sidecar serve`")


def command_runs() -> Finding:
    """Run a program that does nothing, through everything."""
    return _runs("command", ["true"], "look whether the PATH of `sidecar serve` holds the usual folders")


def _runs(name: str, target: str | list[str], cure: str) -> Finding:
    shown = target if isinstance(target, str) else target[0]
    try:
        handle = options(ack="stored", on_unavailable="raise", timeout=PATIENCE, deadline=PATIENCE).submit(target)
        return _end_of(name, shown, handle, cure)
    except SidecarError as error:
        return Finding(name, False, f"{shown}: {error}", _MAKE_ROOM if isinstance(error, NoSpace) else cure)


def _end_of(name: str, shown: str, handle: Handle, cure: str) -> Finding:
    try:
        status = handle.wait(PATIENCE)
    except TimeoutError:
        status = handle.status()
        why = status.waiting or f"{status.state} after {PATIENCE:g} s, are all slots taken?"
        handle.cancel()
        return Finding(name, False, f"{shown}: {why}", f"see: sidecar list --state running; {cure}")
    if status.outcome != "succeeded":
        why = (status.error or {}).get("message") or status.reason or ""
        return Finding(name, False, f"{shown}: {status.outcome} {why}", cure)
    took = (status.finished - status.submitted).total_seconds() if status.finished else 0.0
    return Finding(name, True, f"{shown} ran and ended in {duration(max(0.0, took))}")


def disk(ping: dict[str, Any]) -> Finding:
    """Look how much room the store has to grow, as the daemon sees it."""
    store = ping["store"]
    free, reserve = store["free"], store["reserve"]
    text = f"{size(free)} free for {os.path.dirname(store['path'])}, {size(store['bytes'])} used"
    if not store["accepts"]:
        return Finding("disk", False, f"{text}, {size(reserve)} are kept in reserve", _MAKE_ROOM)
    soon = f"; nearly full, under {size(reserve)} no new job is accepted" if free < ROOM else ""
    return Finding("disk", True, text + soon)


def modules() -> Finding:
    """Say which modules are imported once for all their jobs, and why others are not. A cold one is no fault."""
    name = "warm modules"
    try:
        found = ask("stats").get("modules") or []
    except SidecarError as error:
        return Finding(name, False, str(error), "look at the log of `sidecar serve`")
    warm = [each["module"] for each in found if each["state"] == "warm"]
    cold = [f"{each['module']} stays cold: {each['reason']}" for each in found if each["reason"]]
    return Finding(name, True, "; ".join([", ".join(warm) or "none", *cold]))


def as_line(finding: Finding) -> str:
    """Return one line for people."""
    text = printable(finding.text)
    return f"ok    {finding.name}: {text}" if finding.ok else f"FAIL  {finding.name}: {text}: {finding.cure}"
