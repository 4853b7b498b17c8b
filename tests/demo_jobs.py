"""What the demo's web server hands off: the slow work behind a webhook, and three jobs that go wrong.

Plain functions. They know neither the server nor sidecar; a job is any function that can be imported. Each file's job
leaves a line in a ledger as it begins, so that a second run could not hide behind an output file that is right.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import signal
import time

LEDGER = "ledger"
_BLOCK = b"x" * 127 + b"\n"


def pack(folder: str, name: str, body: bytes) -> dict[str, object]:
    """Write `body` compressed into the folder; returns its SHA-256 and both sizes."""
    with open(os.path.join(folder, LEDGER), "ab", buffering=0) as ledger:
        ledger.write(name.encode() + b"\n")  # one write at the end of the file: lines of other jobs cannot tear it
    packed = gzip.compress(body)
    with open(os.path.join(folder, name + ".gz"), "xb") as file:  # x: a second run fails
        file.write(packed)
    return {"sha256": hashlib.sha256(body).hexdigest(), "bytes": len(body), "packed": len(packed)}


def crash() -> None:
    """End as a bug in a C library ends a process."""
    os.kill(os.getpid(), signal.SIGSEGV)


def hang() -> None:
    """Never end, and have a helper that ignores SIGTERM in a session of its own."""
    import subprocess  # the other 202 jobs do without its 10 ms

    subprocess.Popen(["sh", "-c", "trap '' TERM; exec sleep 3600"], start_new_session=True)
    time.sleep(3600)


def flood(size: int) -> None:
    """Write `size` bytes to stdout, then a last line."""
    block = _BLOCK * 512
    for _ in range(size // len(block)):
        os.write(1, block)
    print("the last line", flush=True)
