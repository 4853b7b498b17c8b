"""Arguments to msgpack documents, and what to say when one does not fit.

The bytes made here are opened by the job alone: no pickle, nothing is guessed, nothing converted silently, because a
UUID that arrives as text and a text that was a text cannot be told apart any more. So what msgpack does not have is
refused at the caller's line, with the argument's name and the conversion that is usual for its type.
"""

from __future__ import annotations

from _thread import _local

from msgpack import Packer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

_KEPT = 64 * 1024

# By the name of a class anywhere among a value's bases, so that nothing has to be imported to be recognised.
_CURES = {
    "UUID": "str(value)",
    "Decimal": "str(value)",
    "Fraction": "str(value)",
    "datetime": "value.timestamp()",
    "date": "value.isoformat()",
    "time": "value.isoformat()",
    "timedelta": "value.total_seconds()",
    "set": "sorted(value) or list(value)",
    "frozenset": "sorted(value) or list(value)",
    "range": "list(value)",
    "generator": "list(value)",
    "dict_keys": "list(value)",
    "dict_values": "list(value)",
    "dict_items": "dict(value)",
    "map": "list(value)",
    "QuerySet": "a list of primary keys",
    "Model": "value.pk, and load it again in the job",
    "PurePath": "str(value)",
    "Enum": "value.value",
    "ndarray": "value.tolist()",
    "generic": "value.item()",
    "BaseModel": "value.model_dump()",
    "complex": "[value.real, value.imag]",
    "Mapping": "dict(value)",
    "IOBase": "its path or its content",
    "BaseException": "str(value)",
    "function": 'its name as text, "module:function"',
    "type": 'its name as text, "module:Class"',
}


def _packer() -> Packer:
    return Packer(use_bin_type=True, unicode_errors="surrogateescape")


class _Thread(_local):
    """A Packer is not safe across threads: each has its own."""

    def __init__(self) -> None:
        self.pack: Callable[[object], bytes] = _packer().pack


_thread = _Thread()


def plain(value: object) -> bytes:
    """Pack a value that is known to fit."""
    return _thread.pack(value)


def args_document(args: tuple[Any, ...]) -> bytes:
    """Pack positional arguments. Raises TypeError naming the one that cannot go along."""
    try:
        return _thread.pack(args)
    except (TypeError, ValueError, OverflowError):
        raise _explained([(str(place), value) for place, value in enumerate(args, 1)]) from None


def let_go(size: int) -> None:
    """Free this thread's buffer after a document of `size` bytes: a Packer keeps the largest it ever needed."""
    if size > _KEPT:
        _thread.pack = _packer().pack


def kwargs_document(kwargs: Mapping[str, Any]) -> bytes:
    """Pack keyword arguments. Raises TypeError naming the one that cannot go along."""
    try:
        return _thread.pack(kwargs)
    except (TypeError, ValueError, OverflowError):
        raise _explained([(f"{name}=", value) for name, value in kwargs.items()]) from None


def _explained(arguments: Sequence[tuple[str, object]]) -> TypeError:
    for name, value in arguments:
        if _fits(value):
            continue
        inner, found = _culprit(value)
        where = f"argument {name}{' at [' + ']['.join(inner) + ']' if inner else ''}"
        return TypeError(f"cannot submit job: {where} is {_shown(found)}, {_reason(found)}")
    return TypeError("cannot submit job: its arguments cannot be packed, pass plain values")  # changed meanwhile


def _fits(value: object) -> bool:
    try:
        _thread.pack(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _culprit(value: object) -> tuple[list[str], object]:
    """Walk down to the innermost value that does not fit; a value that contains itself ends the walk."""
    way: list[str] = []
    seen: set[int] = set()
    while id(value) not in seen:
        seen.add(id(value))
        for key, item in _items(value):
            if not _fits(item):
                way.append(key)
                value = item
                break
        else:
            break
    return way[:8], value


def _items(value: object) -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [(f"key {key!r}", key) for key in value] + [(repr(key), item) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [(str(place), item) for place, item in enumerate(value)]
    return []


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception as error:  # a foreign __repr__ must not hide what is really wrong
        text = f"<{type(value).__name__}, its repr raised {type(error).__name__}>"
    return text if len(text) <= 80 else text[:77] + "..."


def _reason(value: object) -> str:
    if isinstance(value, int):
        return "over 64 bits: pass str(value)"
    if isinstance(value, str):
        return "no text that UTF-8 can carry (a lone surrogate): pass bytes"
    if isinstance(value, (dict, list, tuple)):
        return "nested too deep, or contains itself: pass flat values"
    kind = type(value)
    for base in kind.__mro__:
        if base.__name__ in _CURES:
            return f"which is no msgpack type ({kind.__name__}): pass {_CURES[base.__name__]}"
    if hasattr(kind, "__dataclass_fields__"):
        return f"which is no msgpack type ({kind.__name__}): pass dataclasses.asdict(value)"
    return f"which is no msgpack type ({kind.__name__}): pass text, numbers, bytes, lists or dicts that describe it"
