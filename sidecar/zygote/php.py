"""PHP jobs: a fresh `php` for each, in the place of the command that an argv would be, unless a template forks them.

The zygote is Python and stays so: it forks, keeps deadline, tree, output and report as for any job, and the child
becomes PHP by exec. What that PHP is to do stands on its fd 4, a memory file with a packed map:

    call        as in the job              bootstrap   a file to require first, absent: none
    args kwargs packed documents, absent: none         limit       bytes of a packed return value
    last        whether a failure of this attempt is the job's own: nothing is left to try

Its report goes to fd 3, in the form of child.py's; clients/php/src/Worker.php writes it. PHP has no way to close fd 3
and 4: they stay open in the job.

Whether that PHP can be started is looked at when the zygote comes up, and cheaply before each job. Jobs wait for what
is gone, as they wait for a Python that is gone; they do not fail of a deploy in progress.
"""

from __future__ import annotations

import os

import msgpack

from .kernel import memory_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PLAN_FD = 4
OLDEST = 80100  # PHP_VERSION_ID
_ABOUT = "echo PHP_VERSION_ID, ' ', PHP_SAPI;"
_MOST_SAID = 200  # bytes
# Of php.ini all holds but what belongs to a web server's page: no JIT, which takes longer than it saves in a process
# that runs once, no limit of time beside ours, and complaints as text, where the job's output goes.
_SETTINGS = {"opcache.jit": "disable", "display_errors": "stderr", "html_errors": "0", "max_execution_time": "0"}
OPTIONS = [word for name, value in _SETTINGS.items() for word in ("-d", f"{name}={value}")]


def order_of(plan: dict[str, Any], runtime: dict[str, Any], limit: int) -> dict[str, Any]:
    """Return what a PHP is to do, out of what the daemon sent."""
    order: dict[str, Any] = {name: plan[name] for name in ("call", "args", "kwargs") if name in plan}
    order["limit"] = limit
    order["last"] = bool(plan.get("at_most_once")) or plan.get("failures", 0) >= plan.get("retries", 0)
    if "bootstrap" in runtime:
        order["bootstrap"] = runtime["bootstrap"]
    return order


def prepare(plan: dict[str, Any], runtime: dict[str, Any], limit: int) -> list[str | bytes]:
    """Put a job's plan where its PHP finds it, and return the argv of that PHP."""
    given = memory_file(msgpack.packb(order_of(plan, runtime, limit), unicode_errors="surrogateescape"))
    if given == PLAN_FD:
        os.set_inheritable(given, True)
    else:
        os.dup2(given, PLAN_FD)
        os.close(given)
    return [runtime["interpreter"], *OPTIONS, runtime["worker"]]


class Program:
    """What the jobs of a runtime are started from. `reason` says why they cannot be, with the cure; None: they can."""

    def __init__(self, runtime: dict[str, Any]) -> None:
        self._interpreter = runtime["interpreter"]
        self._files = [runtime[name] for name in ("worker", "bootstrap") if name in runtime]
        self._known = _identity(self._interpreter)
        self.reason = self._why_not()

    def look(self) -> bool:
        """Say whether something is gone, or the interpreter is another one: that wants to be looked at anew."""
        return self._known is None or _identity(self._interpreter) != self._known or self._missing() is not None

    def _missing(self) -> str | None:
        return next((path for path in self._files if not os.path.isfile(path)), None)

    def _why_not(self) -> str | None:
        missing = self._missing()
        if self._known is None:
            return f"{self._interpreter} is not there; install that PHP, or submit with the path of one that is"
        if missing is not None:
            return f"{missing} is not there; finish the deploy (composer install), or submit with its new path"
        try:
            said = _ask(self._interpreter)
        except OSError as error:
            return f"{self._interpreter} cannot be run ({error.strerror}); give the path of a PHP for the command line"
        version, _, kind = said.partition(" ")
        if kind == "cli" and version.isdigit() and int(version) >= OLDEST:
            return None
        what = f"PHP {version} ({kind})" if kind else repr(said)
        return f"{self._interpreter} is no command-line PHP >= 8.1, it says {what}; give the path of one that is"


def _identity(path: str) -> tuple[int, int, int] | None:
    try:
        about = os.stat(path)
    except OSError:
        return None
    return about.st_dev, about.st_ino, about.st_mtime_ns


def _ask(interpreter: str) -> str:
    """Have a PHP say what it is; one that hangs takes this zygote down, which the daemon gives a deadline."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with open(reading, "rb") as answer:
        try:
            actions = [
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
                (os.POSIX_SPAWN_DUP2, writing, 1),
                (os.POSIX_SPAWN_DUP2, 0, 2),
            ]
            # -n: without php.ini, so that what is asked for is the PHP and not its extensions.
            pid = os.posix_spawn(interpreter, [interpreter, "-n", "-r", _ABOUT], os.environ, file_actions=actions)
        finally:
            os.close(writing)
        said = answer.read()
    os.waitpid(pid, 0)
    return said[:_MOST_SAID].decode("utf-8", "backslashreplace").strip()
