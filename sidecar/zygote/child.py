"""The job's side: from fork to the job's first instruction, and for a call the call itself.

Everything here runs in the forked child, where every page that is written for the first time costs a fault, and even
reading a Python object writes its reference count. So: what it needs is imported before the first fork, what every job
has alike (signal mask, umask, limits) the zygote has too and hands down, and the way to the job's first instruction is
short. Names needed only when something went wrong are imported then. The order of `set_up` is the design's (6.3).
What ends here ends by `os._exit`: nothing of the zygote's own shutdown may run.
"""

from __future__ import annotations

import atexit
import os
import sys
from _signal import SIG_DFL, SIGPIPE, SIGXFSZ, signal  # type: ignore[import-not-found]
from _thread import _count as count_threads
from gc import enable as enable_gc
from mmap import mmap
from os import _exit, chdir, close, closerange, dup2, execv, getppid, putenv, pwrite, read, setsid
from time import monotonic
from types import CoroutineType

import msgpack

from .attempt import UNBEGUN
from .kernel import become_subreaper, die_with_parent, memory_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

REPORT_FD, _ORDERS_FD = 3, 4
NOT_FOUND, NOT_RUNNABLE, FAILED = 127, 126, 1  # exit statuses, as a shell would give them
_TRACEBACK = 32 * 1024
_DEFAULT_PATH = b"/bin:/usr/bin"
_NAME = 200  # characters of a command's name in a message
WORTH_WARMING = 0.005  # seconds of import above which a job tells how long it took
kept: list[int] = []  # descriptors that a warm module has left open and jobs may share, ascending
_memory: mmap
_import_took = 0.0
_unpack = msgpack.unpackb
_pack = msgpack.Packer(use_bin_type=True, unicode_errors="surrogateescape").pack
_environ: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]


# What one attempt is to do, as the daemon sent it: what is left of the packed job (descriptor.BODY), then what its
# environment says of it, as NAMES names it.
Order = tuple[bytes, int, str, str, str]
NAMES = (b"SIDECAR_ATTEMPT", b"SIDECAR_JOB_ID", b"SIDECAR_QUEUE", b"SIDECAR_DEADLINE")
# A spare's packed order comes by its pipe. A longer one stands in its report file, which is the job's own by then, and
# by the pipe comes its size.
MOST_PIPED = 4096  # bytes: PIPE_BUF, what a pipe takes whole or not at all
ORDER_AT = 16  # behind the mark, and what is rehearsed


def run_attempt(
    order: Order | None, orders: int, parent: int, null: int, output: int, report: int, runtime: dict[str, Any],
    limit: int,
) -> NoReturn:  # fmt: skip
    """Become the attempt. Never returns. `limit` is of the packed return value, bytes.

    Without an order this is a spare: it does beforehand what all jobs have alike, and is told its job on `orders`.
    """
    status = FAILED
    try:
        enable_gc()
        become_a_job(parent, null, output, report, orders)
        if order is None:
            order = await_order()
        plan = _document(order[0])
        prepare(plan, order, runtime)
        if "call" not in plan:
            status = execute(plan["argv"])
        elif runtime.get("kind") != "php":
            status = call(plan, runtime.get("setup"), limit)
        else:
            from .php import prepare as prepare_php

            status = execute(prepare_php(plan, runtime, limit))
    except BaseException as error:  # the last line of defence: nothing may return into the zygote's loop
        _report_error(error)
    finally:
        _exit(status)


def become_a_job(parent: int, null: int, output: int, report: int, orders: int) -> None:
    """Make the process a job's: own session, own descriptors, and an end when its zygote ends."""
    setsid()
    become_subreaper()
    dup2(null, 0)
    dup2(output, 1)
    dup2(output, 2)
    dup2(report, REPORT_FD)
    _map_report()
    if orders >= 0:
        dup2(orders, _ORDERS_FD)
    low = 4 if orders < 0 else 5
    for fd in kept:
        closerange(low, fd)
        low = fd + 1
    closerange(low, 1 << 30)
    die_with_parent()
    if getppid() != parent:  # it ended before the line above
        _exit(FAILED)


def _map_report() -> None:
    global _memory
    try:
        _memory = mmap(REPORT_FD, 0)  # it keeps a descriptor of its own, which is closed next: the map stays
    except OSError as error:  # a limit of memory, the machine's or the service's
        data = _pack({"error": _error("SetupError", f"cannot map the report file: {error.strerror}")})
        pwrite(REPORT_FD, len(data).to_bytes(4, "big") + data, 0)
        _exit(FAILED)


def await_order() -> Order:
    """Wait to be told what to do; meanwhile no job runs here, and nothing of one is in this process."""
    _rehearse()
    packed = read(_ORDERS_FD, MOST_PIPED)
    if not packed:
        _exit(FAILED)
    _memory[: len(UNBEGUN)] = bytes(len(UNBEGUN))
    close(_ORDERS_FD)
    order = _document(packed)
    if type(order) is int:
        place = slice(ORDER_AT, ORDER_AT + order)
        order = _document(_memory[place])
        _memory[place] = bytes(place.stop - ORDER_AT)  # not for what the job starts, which has the file open too
    return order  # type: ignore[no-any-return]


def _rehearse() -> None:
    """Touch what the job will: pages are copied when they are written, and now nobody waits for that."""
    for name in NAMES:
        _put(name, b"")
    _document(_pack([{}, b"", 0, "", 0.0, None]))
    _memory[len(UNBEGUN)] = 0
    _flush()


def prepare(plan: dict[str, Any], order: Order, runtime: dict[str, Any]) -> None:
    """Give it what this job wants: its input, its environment, its folder."""
    if "stdin" in plan:
        given = memory_file(plan["stdin"])
        dup2(given, 0)
        close(given)
    if "env" in plan:
        for name, text in plan["env"].items():
            _put(name.encode("utf-8", "surrogateescape"), text.encode("utf-8", "surrogateescape"))
    for name, value in zip(NAMES, order[1:], strict=True):
        _put(name, str(value).encode())
    folder = plan.get("cwd") or runtime.get("cwd")
    if folder is not None:
        try:
            chdir(folder)
        except OSError as error:
            _report({"error": _error("FolderError", f"cannot enter folder {folder!r}: {error.strerror}")})
            _exit(NOT_RUNNABLE)


def _put(name: bytes, text: bytes) -> None:
    """Do what os.environ's setter does, by a way that writes a tenth of the pages (82 faults of a job's 380)."""
    _environ[name] = text
    putenv(name, text)


def execute(argv: list[str | bytes]) -> int:
    """Replace this process by the command; returns an exit status only when that failed."""
    for number in (SIGPIPE, SIGXFSZ):  # Python ignores them; a command expects the default
        signal(number, SIG_DFL)
    program = os.fsencode(argv[0])
    folders = [b""] if b"/" in program else _environ.get(b"PATH", _DEFAULT_PATH).split(b":")
    refused = None
    for folder in folders:  # os.execvpe does the same by way of a hundred pages more
        try:
            execv(folder + b"/" + program if folder else program, argv)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            refused = refused or error
    name = program.decode("utf-8", "replace")[:_NAME]
    if refused is None:
        _report({"error": _error("CommandNotFound", f"cannot run {name!r}: no such file or command")})
        return NOT_FOUND
    _report({"error": _error("CommandError", f"cannot run {name!r}: {refused.strerror}")})
    return NOT_RUNNABLE


def call(plan: dict[str, Any], setup: str | None, limit: int) -> int:
    """Import, call, report; returns the exit status of the process."""
    sys.argv = [plan["call"]]
    status = 0
    try:
        function = _import(plan["call"], setup)
        args = _document(plan["args"]) if "args" in plan else ()
        kwargs = _document(plan["kwargs"]) if "kwargs" in plan else {}
        result = function(*args, **kwargs)
        if type(result) is CoroutineType:
            import asyncio

            result = asyncio.run(result)
        _report_result(result, limit)
    except SystemExit as end:
        status = _report_exit(end, limit)
    except BaseException as error:
        _report_error(error)
        status = FAILED
    _finish()
    return status


def _import(target: str, setup: str | None) -> Any:
    global _import_took
    began = monotonic()
    if setup:
        resolve(setup)()
    function = resolve(target)
    _import_took = monotonic() - began
    return function


def resolve(target: str) -> Any:
    """Import "module:qualname" and return what it names."""
    module_name, _, path = target.partition(":")
    found = sys.modules.get(module_name)
    if found is None:
        __import__(module_name)
        found = sys.modules[module_name]
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise AttributeError(f"cannot find {path!r} in module {module_name!r}") from None
    return found


def _document(packed: bytes) -> Any:
    return _unpack(packed, strict_map_key=False, unicode_errors="surrogateescape")


def _finish() -> None:
    """End as an interpreter would: threads joined, exit functions run, output flushed."""
    if count_threads() and "threading" in sys.modules:
        sys.modules["threading"]._shutdown()  # joins them; with none it would only touch a hundred pages
    atexit._run_exitfuncs()
    _flush()


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except ValueError:  # the job closed it
                pass


def _report(value: dict[str, Any]) -> None:
    """Write to the report file by way of memory: what the job has made of descriptor 3 by now is the job's."""
    if _import_took > WORTH_WARMING:
        value["import"] = _import_took
    data = _pack(value)
    _memory[4 : 4 + len(data)] = data
    # The length goes last: what is killed in between has reported nothing, rather than half.
    _memory[:4] = len(data).to_bytes(4, "big")


def _report_result(value: Any, limit: int) -> None:
    try:
        packed = _pack(value)
    except (TypeError, ValueError, OverflowError) as error:
        return _report({"result_error": f"cannot pack the return value: {error}"[:1000]})
    if len(packed) > limit:
        return _report({"result_error": f"the return value is {len(packed)} bytes, the limit is {limit}"})
    _report({"result": packed})


def _report_exit(end: SystemExit, limit: int) -> int:
    """sys.exit() in a job: None and 0 are a return without a value, a number a status, a text a complaint."""
    if end.code is None or end.code == 0:
        _report_result(None, limit)
        return 0
    _report({"error": _error("SystemExit", str(end.code)[:_TRACEBACK])})
    return end.code & 0xFF or FAILED if isinstance(end.code, int) else FAILED


def _error(kind: str, message: str, traceback: str = "") -> dict[str, str]:
    return {"type": _text(kind), "message": _text(message), "traceback": _text(traceback)}


def _text(given: str) -> str:
    """Return a text that UTF-8 can carry: an exception may hold lone surrogates."""
    return given.encode("utf-8", "backslashreplace").decode()


def _report_error(error: BaseException) -> None:
    import traceback

    told: dict[str, Any] = {}
    errors = sys.modules.get("sidecar.errors")  # else the job cannot have raised one of ours
    if errors is not None and isinstance(error, (errors.GiveUp, errors.TryAgain)):
        told["retry"] = error.retry
        error = error.__cause__ or error
    shown = error.__traceback__
    while shown is not None and shown.tb_frame.f_globals.get("__name__") == __name__:
        shown = shown.tb_next  # our own frames say nothing about the job
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(error)
    except Exception:
        message = "(its message could not be made)"
    try:
        text = "".join(traceback.format_exception(kind, error, shown))
    except Exception:
        text = ""
    _report({"error": _error(name, message[:_TRACEBACK], text[-_TRACEBACK:]), **told})
