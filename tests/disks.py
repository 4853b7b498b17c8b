"""Small real disks for tests: a tmpfs mounted in a folder, filled to the byte and emptied again.

Mounting takes root, or a namespace in which we are root: `run_in_namespace` runs a test file in one.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 1024 * 1024


class Disk:
    """A mounted file system; what fills it is one file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    @property
    def free(self) -> int:
        """Return the bytes that are left."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Fill it but for `leave` bytes; none at all for 0, whatever others free meanwhile."""
        with open(self._filler, "ab", buffering=0) as file:
            while self.free > leave:
                try:
                    file.write(bytes(min(MIB, self.free - leave) or 4096))
                except OSError as error:
                    assert error.errno == errno.ENOSPC
                    return

    def clear(self) -> None:
        """Remove what filled it."""
        self._filler.unlink()


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[Disk]:
    """Mount a disk of `size` bytes in a folder for as long as the block runs; the folder is removed after it."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "sidecar-test", folder], check=True)
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
        folder.rmdir()


def may_mount() -> bool:
    """Say whether this process may mount."""
    with tempfile.TemporaryDirectory() as folder:
        mount = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=65536", "sidecar-test", folder], capture_output=True
        )
        return mount.returncode == 0 and subprocess.run(["umount", folder]).returncode == 0


def run_in_namespace(file: str) -> None:
    """Run a test file where we may mount, because here we may not; fails as it fails."""
    command = ["unshare", "-rm", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", file]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
