"""What `doctor` sees around the daemon: the interpreter, the kernel, the spool, the environment.

Nothing here needs a daemon, so these looks help most when there is none. None of them changes anything.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

from .. import __version__
from ..client import runtime, where
from ..disk import room
from .checks import PATIENCE, Finding
from .serve import own_path

QUEUE = 64  # datagrams: below this a burst of submits is soon told to wait


def interpreter() -> Finding:
    """Say which Python runs a call that is submitted from here, and ask it for its `sidecar`, as a zygote does."""
    name = "interpreter"
    python = runtime.interpreter(sys.executable, sys.prefix)
    look = (
        f"import sys; sys.path += {own_path()!r}; import msgpack, sidecar; print(sidecar.__version__, sidecar.__file__)"
    )
    try:
        done = subprocess.run([python, "-I", "-c", look], capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding(name, False, f"{python}: {error}", "use a Python that starts")
    if done.returncode:
        why = done.stderr.strip().rpartition("\n")[2]
        return Finding(name, False, f"{python}: {why}", f"run: {python} -m pip install sidecar-jobs")
    version, _, file = done.stdout.strip().partition(" ")
    return Finding(name, True, f"{python} with sidecar {version} from {os.path.dirname(file)}")


def kernel_queue(path: str = "/proc/sys/net/unix/max_dgram_qlen") -> Finding:
    """Say how many hand-offs the kernel holds while the daemon is busy; a small number costs speed and no job."""
    name = "kernel queue"
    try:
        with open(path) as file:
            depth = int(file.read())
    except (OSError, ValueError):
        return Finding(name, True, "depth unknown")
    if depth >= QUEUE:
        return Finding(name, True, f"holds {depth} hand-offs")
    return Finding(
        name, True, f"holds {depth} hand-offs; in a burst the others go by stream, slower, none is lost "
        "(more from the next start on: sysctl net.unix.max_dgram_qlen=512)",
    )  # fmt: skip


def spool() -> Finding:
    """Look whether a job can be left in a file while no daemon is there, where the client would leave it."""
    name, looked = "spool", where.spool_folders(None)
    for folder in looked:
        if os.access(f"{folder}/tmp", os.W_OK | os.X_OK) and os.access(f"{folder}/new", os.W_OK | os.X_OK):
            free, reserve = room(folder)
            if free < reserve:
                return Finding(name, False, f"{folder} takes no jobs, its disk is nearly full", "make room")
            return Finding(name, True, f"{os.path.realpath(folder)} takes jobs while no daemon is there")
    there = [folder for folder in looked if os.path.isdir(f"{folder}/new")]
    if there:
        return Finding(
            name, False, f"cannot write to {' or '.join(there)}",
            "a submit while no daemon is there will fail: look whose the folder is, and whether its disk is read-only",
        )  # fmt: skip
    return Finding(
        name, False, f"there is no {' or '.join(looked)}",
        "a submit while no daemon is there will fail: start `sidecar serve` once as this user, it makes the folder",
    )  # fmt: skip


def environment() -> Finding:
    """Look for what makes the same command mean different things in different places."""
    name, oddities = "environment", [*_oddities()]
    if not oddities:
        return Finding(name, True, f"nothing odd, sys.prefix is {sys.prefix}")
    return Finding(name, False, "; ".join(each for each, _ in oddities), "; ".join(cure for _, cure in oddities))


def _oddities() -> Iterator[tuple[str, str]]:
    for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        if entry and not os.path.isabs(entry):
            yield f"PYTHONPATH has {entry!r}", "name whole paths in PYTHONPATH: it means another folder elsewhere"
        elif entry and not os.path.exists(entry):
            yield f"PYTHONPATH has {entry!r}, which is not there", "take it out of PYTHONPATH"
    venv = os.environ.get("VIRTUAL_ENV")
    if venv and os.path.realpath(venv) != os.path.realpath(sys.prefix):
        yield f"VIRTUAL_ENV is {venv}, this Python is of {sys.prefix}", "install sidecar-jobs in it, or deactivate it"
    if os.environ.get("PYTHONHOME"):
        yield "PYTHONHOME is set", "unset it: jobs start without it and find another standard library"
    installed = _installed_version()
    if installed not in (None, __version__):
        yield f"{installed} is installed, {__version__} is imported", "look at PYTHONPATH and the folder you are in"


def _installed_version() -> str | None:
    from importlib import metadata

    try:
        return metadata.version("sidecar-jobs")
    except metadata.PackageNotFoundError:
        return None
