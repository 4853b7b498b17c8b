"""A job's bytes: all that is the same for every job of one function, made once; the rest joined to it per job.

A job is one msgpack map. What depends only on the function, its options and the runtime record is kept as ready
bytes, so that a submit packs its arguments and joins five pieces. The clock comes in as `now`; no socket here.
"""

from __future__ import annotations

import os
import struct
import sys

from . import runtime
from .pack import args_document, kwargs_document, let_go, plain
from .target import Named, argv_of, call_of, php_call_of, task_of
from .terms import DEADLINE, LOCAL, default_ack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

ENVELOPE = b"\x93\x02\xa6submit\x91"  # [2, "submit", [job]] up to the job
_ID = b"\xa2id\xc4\x10"
_ARGS = b"\xa4args"
_KWARGS = b"\xa6kwargs"
_PAYLOAD = b"\xa7payload"
ARGS = [_ARGS + b"\xc4" + bytes((size,)) for size in range(256)]  # the field's name and the header of a short document


def args_field(size: int) -> bytes:
    """Return what stands before an args document of this size."""
    if size < 256:
        return ARGS[size]
    let_go(size)
    return _ARGS + bin_header(size)


def bin_header(size: int) -> bytes:
    """Return the msgpack header of `size` bytes."""
    if size < 256:
        return b"\xc4" + bytes((size,))
    return b"\xc5" + struct.pack(">H", size) if size < 65536 else b"\xc6" + struct.pack(">I", size)


def map_header(size: int) -> bytes:
    """Return the msgpack header of a map with `size` keys."""
    return bytes((0x80 | size,)) if size < 16 else b"\xde" + struct.pack(">H", size)


class Parcel:
    """One job, packed, and how it is to be handed over."""

    __slots__ = ("ack", "deadline", "id", "message", "on_unavailable")

    def __init__(self, id: bytes, message: bytes, ack: str, on_unavailable: str, deadline: float) -> None:
        self.id = id
        self.message = message  # as the datagram and the spool file carry it
        self.ack = ack
        self.on_unavailable = on_unavailable
        self.deadline = deadline  # seconds

    @property
    def job(self) -> bytes:
        """Return the packed job alone."""
        return self.message[len(ENVELOPE) :]


class Plan:
    """The constant part of all jobs of one target under one set of options."""

    __slots__ = ("_count", "_fields", "_options", "ack", "head", "is_call", "is_direct", "is_task", "record")

    def __init__(self, target: object, options: Mapping[str, Any], record: runtime.Record) -> None:
        fields = target_fields(target, options, record)
        fields.update((name, value) for name, value in options.items() if name not in LOCAL)
        self._options = options
        self._fields = b"".join(plain(name) + plain(value) for name, value in fields.items())
        self._count = len(fields) + 1  # and the id
        self.record = record
        self.is_call = "call" in fields
        self.is_task = "task" in fields
        self.ack: str = options.get("ack") or default_ack(os.environ)
        # For the fast way: a call without keywords, sent by datagram, with nothing that depends on the clock.
        self.is_direct = self.is_call and self.ack == "sent" and not {"delay", "expires"} & options.keys()
        self.head = ENVELOPE + map_header(self._count + 1) + self._fields + _ID

    def parcel(self, id: bytes, args: tuple[Any, ...], kwargs: Mapping[str, Any], now: float) -> Parcel:
        """Pack one job as of `now` (Unix seconds). Raises TypeError for arguments that cannot go along."""
        pieces: list[bytes] = []
        for name, instant in self._instants(now):
            pieces += [plain(name), plain(instant)]
        count = self._count + len(pieces) // 2
        for field, document in self._documents(args, kwargs):
            let_go(len(document))
            pieces += [field, bin_header(len(document)), document]
            count += 1
        message = b"".join((ENVELOPE, map_header(count), self._fields, _ID, id, *pieces))
        return self.wrapped(id, message)

    def _documents(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
        """Return what goes along packed by itself: arguments, or the payload of a named task."""
        if self.is_call:
            positional = (_ARGS, args_document(args))
            return [positional, (_KWARGS, kwargs_document(kwargs))] if kwargs else [positional]
        if not self.is_task:
            if args or kwargs:
                raise TypeError("cannot submit command: its words are its arguments, put them into the list")
            return []
        if args and kwargs:
            raise TypeError("cannot submit task: its payload is a list or a map, give arguments or keywords, not both")
        return [(_PAYLOAD, kwargs_document(kwargs) if kwargs else args_document(args))] if args or kwargs else []

    def wrapped(self, id: bytes, message: bytes) -> Parcel:
        """Put a packed job together with the way it is to be handed over."""
        options = self._options
        policy, deadline = options.get("on_unavailable", "spool"), options.get("deadline", DEADLINE)
        return Parcel(id, message, self.ack, policy, deadline)

    def _instants(self, now: float) -> list[tuple[str, float]]:
        instants = []
        if "delay" in self._options:
            instants.append(("run_at", now + self._options["delay"]))
        if "expires" in self._options:
            kind, value = self._options["expires"]
            instants.append(("expires", value if kind == "at" else now + value))
        return instants


def target_fields(target: object, options: Mapping[str, Any], record: runtime.Record) -> dict[str, Any]:
    """Return the fields that say what to run and where its code is."""
    if isinstance(target, (list, tuple)):
        return {"argv": argv_of(target), **({} if record.folder is None else {"cwd": record.folder})}
    if isinstance(target, Named):
        return {"task": task_of(target, options)}
    given = options.get("runtime")
    if given is None:
        return {"call": call_of(target), "runtime": record.packed}
    if given.get("kind") == "php":
        if options.get("on_unavailable") == "inline":
            raise ValueError("cannot use options: PHP cannot run inline here, give another on_unavailable")
        return {"call": php_call_of(target), "runtime": plain(given)}
    own = {"kind": "python", "interpreter": runtime.interpreter(sys.executable, sys.prefix)}
    return {"call": call_of(target), "runtime": plain({**own, **given})}
