"""What the zygote's tests run: each a function that behaves well or badly in one way."""

from __future__ import annotations

import os
import signal
import sys
import time


def add(a: int, b: int = 0) -> int:
    return a + b


def told(text: str) -> tuple[int, int, str]:
    return os.getpid(), len(text), "".join(set(text))


async def add_later(a: int, b: int) -> int:
    import asyncio

    await asyncio.sleep(0)
    return a + b


def raise_error() -> None:
    raise ValueError("no such order")


def exit_with(code: object) -> None:
    sys.exit(code)  # type: ignore[arg-type]


def exit_at_once(status: int) -> None:
    os._exit(status)


def return_unpackable() -> object:
    return object()


def return_large(size: int) -> bytes:
    return bytes(size)


def surroundings() -> dict[str, object]:
    with open("/proc/self/stat") as file:
        session = int(file.read().rpartition(")")[2].split()[3])
    mask = os.umask(0)
    with open("/proc/self/status") as file:
        blocked = next(line.split()[1] for line in file if line.startswith("SigBlk"))
    return {
        "fds": sorted(int(fd) for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")),
        "leader": session == os.getpid(),
        "cwd": os.getcwd(),
        "umask": mask,
        "blocked": int(blocked, 16),
        "environ": dict(os.environ),
        "term": str(signal.getsignal(signal.SIGTERM)),
    }


def read_stdin() -> bytes:
    return sys.stdin.buffer.read()


def write(text: str, times: int = 1) -> None:
    for _ in range(times):
        sys.stdout.write(text)
    sys.stderr.write("!")


def flood(size: int) -> None:
    chunk = b"x" * 65536
    for _ in range(size // len(chunk)):
        os.write(1, chunk)


def ignore_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ready", flush=True)
    while True:
        time.sleep(60)


def end_on_sigterm() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("ready", flush=True)
    while True:
        time.sleep(60)


def close_stdout() -> str:
    os.close(1)
    os.close(2)
    return "done"


def escape(path: str, hold_stdout: bool) -> None:
    """Leave a grandchild in a session of its own, by a double fork; it writes its pid to `path`."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if not hold_stdout:
                os.close(1)
                os.close(2)
            with open(path + ".new", "w") as file:
                file.write(str(os.getpid()))
            os.rename(path + ".new", path)
            time.sleep(600)
        os._exit(0)
    os.wait()
    while not os.path.exists(path):
        time.sleep(0.001)


def forge_report() -> None:
    os.pwrite(3, b"\xff\xff\xff\xff", 0)
    os._exit(0)


def fill_report() -> str:
    try:
        while True:
            os.write(3, bytes(1 << 20))
    except OSError as error:
        return type(error).__name__


def kill_zygote() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(600)


def leave_thread(path: str) -> str:
    import threading

    def late() -> None:
        with open(path, "w") as file:
            file.write("late")

    threading.Timer(0.05, late).start()
    return "returned"


def at_exit(path: str) -> None:
    import atexit
    from pathlib import Path

    atexit.register(Path(path).write_text, "exit")


def close_report_and_open(path: str) -> str:
    """Close descriptor 3 and more, then open a file, which gets its number."""
    os.closerange(3, 64)
    fd = os.open(path, os.O_RDWR)
    return f"opened as {fd}"


def raise_surrogate() -> None:
    raise ValueError("lone \ud800 surrogate")


def hold_as_tracer(pid_file: str, ready: str) -> None:
    """Seize another job with ptrace, and never wait for it: its zombie cannot be reaped."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    with open(pid_file) as file:
        if libc.ptrace(0x4206, int(file.read()), 0, 0) != 0:  # PTRACE_SEIZE
            raise OSError(ctypes.get_errno(), "ptrace")
    with open(ready, "w"):
        time.sleep(600)


def leave_many(count: int) -> None:
    """Leave that many sleeping processes behind."""
    reading, writing = os.pipe()
    for _ in range(count):
        if os.fork() == 0:
            os.setsid()
            os.write(writing, b"x")
            time.sleep(600)
            os._exit(0)
        os.read(reading, 1)  # it has left our group


def wait_and_return(started: str, go: str, size: int) -> bytes:
    """Return so many bytes once `go` is there."""
    open(started, "w").close()
    while not os.path.exists(go):
        time.sleep(0.005)
    return b"x" * size
