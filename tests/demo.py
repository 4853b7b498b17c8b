"""`make demo`: a web server that answers at once, a daemon that works behind it, and the proof that all was done.

A daemon in a temporary folder, a web server in a process of its own, client threads here that POST real files: sources
of this Python's standard library, from the smallest to the largest. Three more requests lead to a job that crashes, one
that hangs and one that floods. Afterwards every file is compared with the original. Exit status 1 when a proof fails.
Nothing stays behind, on Ctrl-C too: whoever starts something here ends it, and is not disturbed while doing either.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # started as a script: the name `tests` begins there, not here

from tests.daemon_process import Daemon  # noqa: E402
from tests.demo_proof import Ended, Proof, proofs, wait_end  # noqa: E402
from tests.demo_table import show_next, show_proofs, show_table  # noqa: E402
from tests.demo_web import Hook, post_all  # noqa: E402

FILES = 200
INTERRUPTED = 130  # what a shell says after Ctrl-C
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Disturb = Callable[[Path], object]


def main() -> int:
    """Run the demo; returns the exit status."""
    for number in _ENDING[1:]:
        signal.signal(number, signal.default_int_handler)
    try:
        return run(FILES)
    except KeyboardInterrupt:
        print("\nended before its time; nothing was left behind", file=sys.stderr)
        return INTERRUPTED


def run(count: int, disturb: Disturb | None = None) -> int:
    """Run it with so many files. `disturb` is called with the output folder before the proof: the negative control."""
    began = time.monotonic()
    hooks = [Hook("hang", "hang"), Hook("crash", "crash"), Hook("flood", "flood"), *source_files(count)]
    size = sum(hook.source.stat().st_size for hook in hooks if hook.source)
    print(f"{count} files of Python's standard library ({size / 1e6:.1f} MB) go to a web server, one a request.")
    print("It answers at once; sidecar runs a job for each. Three more jobs crash, hang and flood.\n")
    daemon = Daemon(slots=None)
    try:
        ended, found = serve_and_send(daemon, hooks, disturb)
        found.append(Proof("nothing was left running, and no file", left_by(daemon)))
    finally:
        with undisturbed():
            daemon.close()
    show_table(ended)
    show_proofs(found)
    fine = not any(proof.against for proof in found)
    print(f"\n{'all of it holds' if fine else 'NOT ALL OF IT HOLDS'}, after {time.monotonic() - began:.1f} s")
    if fine:
        show_next()
    return 0 if fine else 1


def source_files(count: int) -> Iterator[Hook]:
    """Choose so many different files of the standard library, evenly over all sizes."""
    folder = Path(sysconfig.get_path("stdlib"))
    found = [path for path in folder.rglob("*.py") if "site-packages" not in path.parts and path.stat().st_size]
    found.sort(key=lambda path: (path.stat().st_size, path))
    if len(found) < count:
        sys.exit(f"cannot run the demo: {folder} has {len(found)} files, {count} are needed, use a whole Python")
    for number in range(count):
        path = found[-1 - number * len(found) // count]
        yield Hook("file", ".".join(path.relative_to(folder).parts), path)


def serve_and_send(daemon: Daemon, hooks: list[Hook], disturb: Disturb | None) -> tuple[list[Ended], list[Proof]]:
    """Start the daemon and the web server, send everything, wait for every job; returns what became of it."""
    with undisturbed():
        daemon.start()
    os.environ.update(daemon.variables)  # where the client of this process looks
    folder = daemon.folder / "output"
    folder.mkdir()
    print(f"in {daemon.folder}: sidecar serve is process {daemon.pid}", end=", ", flush=True)
    with web_server(daemon, folder) as (port, pid):
        print(f"the web server is {pid}, http://127.0.0.1:{port}", flush=True)
        answers = post_all(port, hooks)
    ended = [wait_end(answer) for answer in answers if answer.id]
    if disturb is not None:
        disturb(folder)
    return ended, proofs(answers, ended, folder, daemon.call("stats")["states"]["done"])


@contextmanager
def web_server(daemon: Daemon, folder: Path) -> Iterator[tuple[int, int]]:
    """Run the web server, and give its port and pid; it ends when its stdin does."""
    with ExitStack() as stack:
        with undisturbed():
            command = [sys.executable, "-m", "tests.demo_web", str(folder)]
            server = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=daemon.env, cwd=ROOT, start_new_session=True
            )
            stack.callback(server.__exit__, None, None, None)  # closes the pipes, waits
        assert server.stdout is not None
        yield int(server.stdout.readline()), server.pid


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let Ctrl-C wait until this is done: what is half started would not be known to anybody who ends it."""
    caught: list[int] = []
    before = {number: signal.signal(number, lambda number, _: caught.append(number)) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if caught:
        raise KeyboardInterrupt


def left_by(daemon: Daemon) -> list[str]:
    """End the daemon in order; returns what is wrong with what it leaves."""
    with undisturbed():
        status = daemon.stop()
        try:
            daemon.close()
        except AssertionError as error:
            return [str(error)]
    wrong = [f"sidecar serve ended with status {status}"] if status else []
    return wrong + ([f"{daemon.folder} is still there"] if daemon.folder.exists() else [])


if __name__ == "__main__":
    sys.exit(main())
