"""Job ids: UUIDv7, 16 bytes, made here so that a job can be named before anybody has it.

The random part comes out of a pool that is filled from the kernel 256 ids at a time: one `urandom` a submit would cost
as much as the rest of it. A forked child must not go on with its parent's pool: two jobs with one id are one job to
the daemon, the second would never run. The pid is compared every time (0.1 µs), since a fork hook is not enough: uWSGI
forks without running Python's, and two of its workers then made the same ids. It knows no socket.
"""

from __future__ import annotations

import os
from struct import Struct
from time import time_ns

_BATCH = 256
_TAIL = 10  # bytes after the 48 bits of milliseconds
_split = Struct(f"{_TAIL}s" * _BATCH).unpack  # four times faster than slices
_VERSION = bytes(0x70 | byte & 0x0F for byte in range(256))
_VARIANT = bytes(0x80 | byte & 0x3F for byte in range(256))

_pool: list[bytes] = []
_take = _pool.pop
_getpid = os.getpid
_owner = 0  # the process whose pool it is


def make() -> bytes:
    """Return a new id (RFC 9562, version 7): milliseconds first, so that ids of one machine sort by time."""
    if _getpid() != _owner:
        _take_over()
    try:
        tail = _take()
    except IndexError:
        tail = _refill()
    return (time_ns() // 1_000_000).to_bytes(6) + tail


def _take_over() -> None:
    global _owner
    _pool.clear()
    _owner = os.getpid()


def _refill() -> bytes:
    # No lock: two threads that find the pool empty fill it twice, which is only more of the same.
    tails = bytearray(os.urandom(_BATCH * _TAIL))
    tails[0::_TAIL] = tails[0::_TAIL].translate(_VERSION)
    tails[2::_TAIL] = tails[2::_TAIL].translate(_VARIANT)
    cut: tuple[bytes, ...] = _split(tails)
    _pool.extend(cut[1:])
    return cut[0]


def show(id: bytes) -> str:
    """Return the usual text of an id."""
    digits = id.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def parse(text: str) -> bytes:
    """Return the 16 bytes of an id's text, dashes or not. Raises ValueError for anything else."""
    try:
        id = bytes.fromhex(text.replace("-", ""))
    except (ValueError, AttributeError, TypeError):
        id = b""
    if len(id) != 16:
        raise ValueError(f"cannot use {text!r} as a job id: give the text of a UUID, as `handle.id` shows it")
    return id
