"""What no daemon took in before the end: the datagrams that are left in the socket become spool files, byte for byte.

A daemon that drains leaves none. But one that cannot start, hangs, or is ended without asking does, and the socket
ends with us. The keeper does not read what clients say: it looks at the kernel's word who sent it, since a spool file
is its owner's hand-off, and the next daemon does the rest.
"""

from __future__ import annotations

import os
import socket
import struct
import time

_LARGEST = 256 * 1024  # as the daemon's: over what a sender's default buffer lets through
_CREDENTIALS = struct.Struct("3i")


def rescue(handoff: socket.socket, spool: str) -> tuple[int, int]:
    """Move what is in the socket into the spool; return how many hand-offs were saved, and how many were not.

    Not saved are those of other users, and what there is no room for.
    """
    saved = lost = 0
    while True:
        try:
            data, ancillary, flags, _ = handoff.recvmsg(_LARGEST, socket.CMSG_SPACE(_CREDENTIALS.size))
        except OSError:  # nothing more
            return saved, lost
        if not data and not ancillary:  # the end of a socket that was shut down
            return saved, lost
        ours = _sender(ancillary) == os.geteuid() and not flags & socket.MSG_TRUNC
        if ours and _write(spool, f"rescued-{time.time_ns()}", data):
            saved += 1
        else:
            lost += 1


def _sender(ancillary: list[tuple[int, int, bytes]]) -> int | None:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and len(data) == _CREDENTIALS.size:
            return int(_CREDENTIALS.unpack(data)[1])
    return None


def _write(spool: str, name: str, data: bytes) -> bool:
    made = f"{spool}/tmp/{name}"
    try:
        with open(made, "xb") as file:
            file.write(data)
        os.rename(made, f"{spool}/new/{name}")
    except OSError:
        return False
    return True
