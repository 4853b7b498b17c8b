"""Arguments: what goes along, and what is said of what does not."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import fractions
import pathlib
import threading
import uuid
from typing import Any

import msgpack
import pytest

from sidecar.client import pack


def unpacked(document: bytes) -> Any:
    return msgpack.unpackb(document, unicode_errors="surrogateescape", strict_map_key=False)


@pytest.mark.parametrize(
    "value", [None, True, 0, -(2**63), 2**64 - 1, 1.5, "ü", "\udcff", b"\xff", [1, [2]], {"a": {"b": []}}, {1: 2}]
)
def test_msgpack_types_go_along_as_they_are(value: object) -> None:
    assert unpacked(pack.args_document((value,))) == [value]
    assert unpacked(pack.kwargs_document({"x": value})) == {"x": value}


@dataclasses.dataclass
class Point:
    x: int = 1


class Colour(enum.Enum):
    RED = 1


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError


CURES = [
    (uuid.uuid4(), r"UUID\): pass str\(value\)"),
    (decimal.Decimal("1.5"), r"Decimal\): pass str\(value\)"),
    (fractions.Fraction(1, 3), r"pass str\(value\)"),
    (datetime.datetime.now(), r"datetime\): pass value.timestamp\(\)"),
    (datetime.date.today(), r"date\): pass value.isoformat\(\)"),
    (datetime.timedelta(1), r"pass value.total_seconds\(\)"),
    ({1, 2}, r"\(set\): pass sorted\(value\) or list\(value\)"),
    (range(3), r"pass list\(value\)"),
    ((n for n in ()), r"generator\): pass list\(value\)"),
    ({}.keys(), r"pass list\(value\)"),
    (pathlib.Path("/x"), r"PosixPath\): pass str\(value\)"),
    (Colour.RED, r"pass value.value"),
    (1j, r"complex"),
    (Point(), r"pass dataclasses.asdict\(value\)"),
    (ValueError("x"), r"pass str\(value\)"),
    (len, r"pass text, numbers"),
    (lambda: None, r'"module:function"'),
    (object(), r"pass text, numbers, bytes, lists or dicts"),
    (Rude(), r"its repr raised RuntimeError"),
    (2**64, r"over 64 bits: pass str\(value\)"),
    (-(2**63) - 1, r"over 64 bits: pass str\(value\)"),
    ("\ud800", r"lone surrogate"),
]


@pytest.mark.parametrize(("value", "cure"), CURES, ids=lambda value: type(value).__name__)
def test_what_does_not_fit_is_named_with_its_cure(value: object, cure: str) -> None:
    with pytest.raises(TypeError, match=rf"argument 2 is .*{cure}"):
        pack.args_document((1, value))
    with pytest.raises(TypeError, match=rf"argument when= is .*{cure}"):
        pack.kwargs_document({"a": 1, "when": value})


def test_a_value_inside_is_found_by_its_way() -> None:
    with pytest.raises(TypeError, match=r"argument 1 at \['rows'\]\[1\]\['id'\] is UUID.*pass str"):
        pack.args_document(({"rows": [{"id": 1}, {"id": uuid.uuid4()}]},))
    with pytest.raises(TypeError, match=r"argument 1 at \[key \(1, \{2\}\)\]"):
        pack.args_document(({_Key(): 1},))


class _Key:
    def __repr__(self) -> str:
        return "(1, {2})"


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(TypeError, match="nested too deep, or contains itself"):
        pack.args_document((loop,))


def test_a_refusal_leaves_the_packer_clean() -> None:
    with pytest.raises(TypeError):
        pack.args_document(("x" * 100, object()))
    assert pack.args_document((1,)) == b"\x91\x01"


def test_each_thread_packs_for_itself() -> None:
    packers = {id(pack._thread.pack)}
    kept = [pack._thread.pack]

    def look() -> None:
        kept.append(pack._thread.pack)
        packers.add(id(kept[-1]))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert len(packers) == 2


def test_the_buffer_of_a_large_document_is_let_go() -> None:
    before = pack._thread.pack
    pack.let_go(100)
    assert pack._thread.pack is before
    pack.let_go(10_000_000)
    assert pack._thread.pack is not before
