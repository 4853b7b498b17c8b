"""Bytes to values and back: the length-prefixed frame and msgpack, strict enough for hostile senders.

It knows no verb and no socket. Decoding is always `unpackb` on an exact slice, never a streaming Unpacker (which
pre-allocates from headers and desynchronises after an error). What is refused here: nesting over 32, arrays over 4,096
and maps over 1,024 entries (both would be allocated before their content has arrived), duplicate keys, keys that are
not text, extension types, trailing bytes. Strings may carry any bytes (PHP has no other type): `surrogateescape`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import Any

import msgpack

from .errors import BadFrame, TooLarge, shown

PREFIX = struct.Struct(">I")
MAX_DEPTH = 32
MAX_ARRAY = 4096
MAX_MAP = 1024


def packer() -> Callable[[object], bytes]:
    """Return a `pack` for one thread that is called often: it keeps its buffer."""
    return msgpack.Packer(use_bin_type=True, unicode_errors="surrogateescape").pack  # type: ignore[no-any-return]


def pack(value: object) -> bytes:
    """Pack one value. Raises TypeError, ValueError or OverflowError for what msgpack cannot carry."""
    return msgpack.packb(value, use_bin_type=True, unicode_errors="surrogateescape")  # type: ignore[no-any-return]


def frame(value: object, pack: Callable[[object], bytes] = pack) -> bytes:
    """Pack one message for a stream: 4 bytes of big-endian length, then msgpack; by a packer of one's own, if given."""
    body = pack(value)
    return PREFIX.pack(len(body)) + body


def unpack(data: bytes | memoryview) -> Any:
    """Decode exactly one value. Raises BadFrame for anything else, whatever the bytes are."""
    try:
        value = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            unicode_errors="surrogateescape",
            object_pairs_hook=_map,
            ext_hook=_refuse_ext,
            max_array_len=MAX_ARRAY,
            max_map_len=MAX_MAP,
        )
    except BadFrame:
        raise
    except (ValueError, msgpack.UnpackException) as error:
        raise BadFrame(f"cannot read message: {error or type(error).__name__}, send one msgpack value") from None
    _check_depth(value)
    return value


def _map(pairs: Iterable[tuple[Any, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in pairs:  # msgpack before 1.2 forgets strict_map_key when there is a pairs hook
        if type(key) is not str:
            raise BadFrame(f"cannot read message: a map key is {shown(key)}, keys are strings")
        if key in made:
            raise BadFrame(f"cannot read message: a map has the same key twice, {shown(key)}")
        made[key] = value
    return made


def _refuse_ext(code: int, data: bytes) -> object:
    raise BadFrame(f"cannot read message: extension type {code} is not part of the protocol")


def _check_depth(value: object) -> None:
    level, depth = [value], 0
    while level:
        below: list[object] = []
        for item in level:
            kind = type(item)
            if kind is list:
                below += item  # type: ignore[arg-type]
            elif kind is dict:
                below += item.values()  # type: ignore[attr-defined]
            elif kind is msgpack.Timestamp:  # -1 never reaches ext_hook
                raise BadFrame("cannot read message: extension type -1 is not part of the protocol")
            else:
                continue
            if depth == MAX_DEPTH:
                raise BadFrame(f"cannot read message: nested deeper than {MAX_DEPTH} levels")
        level, depth = below, depth + 1


class Framer:
    """Cut a byte stream into frames. `feed` what arrived, get the whole frames; what is left waits for more."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = bytearray()

    def feed(self, data: bytes | memoryview) -> list[bytes]:
        """Add bytes and return the frames they complete.

        Raises TooLarge as soon as a prefix announces more than the limit, before its bytes are there; frames that
        came before it are returned first, so feed b"" until nothing comes.
        """
        rest, at = self._rest, 0
        frames: list[bytes] = []
        rest += data
        while len(rest) - at >= 4:
            (size,) = PREFIX.unpack_from(rest, at)
            if size > self._limit:
                if frames:
                    break
                raise TooLarge(
                    f"cannot take {size} bytes: the limit is {self._limit} (limits.job), give a path, not the bytes"
                )
            if len(rest) - at - 4 < size:
                break
            frames.append(bytes(rest[at + 4 : at + 4 + size]))
            at += 4 + size
        del rest[:at]
        return frames

    @property
    def needed(self) -> int:
        """Return how many bytes the unfinished frame will have in all; 0 while that is not known."""
        return 4 + PREFIX.unpack_from(self._rest)[0] if len(self._rest) >= 4 else 0

    @property
    def pending(self) -> int:
        """Return how many bytes of an unfinished frame are held; over 0 at end of file means it was cut."""
        return len(self._rest)
