"""Bytes to values: what is read, what is refused and why, and that no bytes whatever do anything else."""

from __future__ import annotations

import math
import random
import struct
import tracemalloc
from typing import Any

import msgpack
import pytest

from sidecar import wire
from sidecar.errors import BadFrame, TooLarge
from sidecar.wire import MAX_ARRAY, MAX_DEPTH, MAX_MAP, Framer, frame, pack, unpack


def nested(levels: int) -> bytes:
    """Make an array in an array, `levels` of them in all."""
    return b"\x91" * (levels - 1) + b"\x90"


VALUES: list[Any] = [
    None, True, 0, -1, 2**64 - 1, -(2**63), 1.5, "", "caf\u00e9", b"", b"\xff\x00", [], {}, [1, [2, {"a": b"b"}]],
    {"": 1, "caf\u00e9": [None]}, "\udcff\udc80", {"\udcff": 1}, "a" * 70_000, b"b" * 70_000,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30])
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    assert unpack(pack(value)) == value
    assert unpack(memoryview(pack(value))) == value


def test_a_str_may_carry_any_bytes() -> None:
    assert unpack(b"\xa2\xff\x00") == "\udcff\x00"
    assert pack(unpack(b"\xa2\xff\x00")) == b"\xa2\xff\x00"


def test_a_surrogate_written_as_utf_8_comes_back_as_its_bytes() -> None:
    assert pack(unpack(b"\xa3\xed\xa0\x80")) == b"\xa3\xed\xa0\x80"


def test_what_is_no_number_is_still_a_float_here() -> None:
    assert math.isnan(unpack(pack(math.nan)))


REFUSED: list[tuple[str, bytes, str]] = [
    ("nothing", b"", "incomplete|empty"),
    ("the byte that msgpack never uses", b"\xc1", ""),
    ("a value cut short", b"\x92\xc0", "incomplete"),
    ("a byte after the value", b"\xc0\xc0", "extra data"),
    ("one level too many", nested(MAX_DEPTH + 1), "deeper than 32"),
    ("maps one level too many", b"\x81\xa1a" * MAX_DEPTH + b"\x80", "deeper than 32"),
    ("a thousand levels", nested(1000), ""),
    ("a hundred thousand levels", nested(100_000), ""),
    ("an array over the limit", b"\xdc" + struct.pack(">H", MAX_ARRAY + 1) + b"\xc0" * (MAX_ARRAY + 1), "4097"),
    ("an array that only announces", b"\xdd\xff\xff\xff\xff", ""),
    ("a map that only announces", b"\xdf\xff\xff\xff\xff", ""),
    ("a str that only announces", b"\xdb\xff\xff\xff\xff", ""),
    ("a bin that only announces", b"\xc6\xff\xff\xff\xff", ""),
    ("an extension that only announces", b"\xc9\xff\xff\xff\xff\x01", ""),
    ("the same key twice", b"\x82\xa1a\xc0\xa1a\xc0", "same key twice"),
    ("the same key twice, far down", b"\x91\x81\xa1b\x82\xa1a\xc0\xa1a\xc0", "same key twice"),
    ("a number as key", b"\x81\x01\xc0", "key"),
    ("a bin as key", b"\x81\xc4\x01a\xc0", "key"),
    ("nil as key", b"\x81\xc0\xc0", "key"),
    ("an array as key", b"\x81\x90\x01", "key"),
    ("a map as key", b"\x81\x80\x01", "key"),
    ("a timestamp as key", b"\x81\xd6\xff\x00\x00\x00\x00\xc0", ""),
    ("an extension type", b"\xd4\x01\x00", "extension type 1"),
    ("an extension type far down", b"\x91\x81\xa1a\x91\xd4\x05\x00", "extension type 5"),
    ("a timestamp", b"\xd6\xff\x00\x00\x00\x00", "extension type -1"),
    ("a timestamp far down", b"\x91\x81\xa1a\x91\xd6\xff\x00\x00\x00\x00", "extension type -1"),
    ("a timestamp of no valid size", b"\xd4\xff\x00", ""),
]


@pytest.mark.parametrize(("data", "said"), [pytest.param(data, said, id=name) for name, data, said in REFUSED])
def test_bytes_that_are_no_message_are_refused(data: bytes, said: str) -> None:
    with pytest.raises(BadFrame, match=f"(?i)cannot read message.*({said})"):
        unpack(data)


def test_what_is_just_within_the_limits_is_read() -> None:
    """Negative control of the refusals above: it is the limit that refuses."""
    assert unpack(nested(MAX_DEPTH))
    assert len(unpack(pack([None] * MAX_ARRAY))) == MAX_ARRAY
    assert len(unpack(pack({str(i): i for i in range(MAX_MAP)}))) == MAX_MAP
    assert unpack(pack({"a": None, "b": None}))


def test_a_map_over_the_limit_is_refused() -> None:
    with pytest.raises(BadFrame):
        unpack(pack({str(i): i for i in range(MAX_MAP + 1)}))


@pytest.mark.parametrize("value", [object(), {1, 2}, 2**64, 1 + 2j])
def test_what_msgpack_cannot_carry_is_not_packed(value: object) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        pack(value)


# Frames of a stream.

LIMIT = 1000


def test_a_frame_is_a_length_and_a_value() -> None:
    assert frame([0, 1, "ping", []]) == b"\x00\x00\x00\x09" + pack([0, 1, "ping", []])


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 7, 64, 10_000])
def test_frames_are_found_however_the_stream_is_cut(step: int) -> None:
    values = [1, "two", [3], {}, None, "x" * 300]
    stream, framer, found = b"".join(map(frame, values)), Framer(LIMIT), []
    for at in range(0, len(stream), step):
        found += framer.feed(stream[at : at + step])
    assert [unpack(data) for data in found] == values
    assert framer.pending == 0


def test_what_is_left_of_a_frame_is_pending() -> None:
    framer = Framer(LIMIT)
    assert framer.feed(frame("whole") + frame("cut")[:-1]) == [pack("whole")]
    assert framer.pending == 4 + len(pack("cut")) - 1
    assert framer.feed(frame("cut")[-1:]) == [pack("cut")]


def test_an_empty_frame_is_a_frame_of_nothing() -> None:
    assert Framer(LIMIT).feed(bytes(4)) == [b""]


@pytest.mark.parametrize("size", [LIMIT + 1, 2**31, 2**32 - 1])
def test_a_frame_over_the_limit_is_refused_from_its_prefix(size: int) -> None:
    with pytest.raises(TooLarge, match=f"cannot take {size} bytes: the limit is {LIMIT}"):
        Framer(LIMIT).feed(struct.pack(">I", size))


def test_a_frame_of_exactly_the_limit_is_read() -> None:
    assert Framer(LIMIT).feed(struct.pack(">I", LIMIT) + bytes(LIMIT)) == [bytes(LIMIT)]


def test_a_good_frame_before_one_over_the_limit_still_counts() -> None:
    framer = Framer(LIMIT)
    assert framer.feed(frame(1) + struct.pack(">I", LIMIT + 1)) == [pack(1)]
    with pytest.raises(TooLarge):
        framer.feed(b"")


# Random bytes: seeded, so that a failure comes again.

HEADERS = bytes([0x90, 0x91, 0x9F, 0x80, 0x81, 0x8F, 0xA1, 0xC4, 0xC6, 0xC7, 0xC9, 0xCB, 0xD4, 0xD6, 0xDC, 0xDD, 0xDF])


def hostile(dice: random.Random) -> bytes:
    """Make bytes of one of three kinds: noise, noise made of headers, or a good message with a few bytes changed."""
    kind = dice.randrange(3)
    if kind == 0:
        return dice.randbytes(dice.randrange(64))
    if kind == 1:
        return bytes(dice.choice(HEADERS) if dice.random() < 0.7 else dice.randrange(256) for _ in range(40))
    good = bytearray(
        pack([2, "submit", [{"id": b"i" * 16, "call": "a:b", "args": [1, {"k": [b"v"]}], "timeout": 1.5}]])
    )
    for _ in range(dice.randrange(1, 4)):
        good[dice.randrange(len(good))] = dice.randrange(256)
    return bytes(good)


def test_random_bytes_are_a_value_or_a_bad_frame_and_nothing_else() -> None:
    dice, good, bad = random.Random(42), 0, 0
    for _ in range(20_000):
        data = hostile(dice)
        try:
            unpack(data)
            good += 1
        except BadFrame:
            bad += 1
    assert good > 500  # the bytes are not so hostile that only the first check is tried
    assert bad > 5000


@pytest.mark.parametrize(
    "data",
    [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdc\xff\xff", b"\xde\xff\xff", b"\xc6\xff\xff\xff\xff",
     b"\xdc\x10\x00" * 60, b"\xde\x04\x00\xa1a" * 30, b"\xdd\x00\x00\x10\x00" * 900],
    ids=lambda data: data[:6].hex(),
)  # fmt: skip
def test_headers_that_announce_much_cost_little_memory(data: bytes) -> None:
    with pytest.raises(BadFrame):
        unpack(data)  # once before, for what is made only once
    tracemalloc.start()
    try:
        with pytest.raises(BadFrame):
            unpack(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # 1024 nested headers of 4,096 elements at 8 bytes each is the worst that the limits let through
    assert peak < 40 * 1024 * 1024


def test_a_framer_fed_with_noise_refuses_or_waits() -> None:
    dice, refused = random.Random(7), 0
    for _ in range(2000):
        framer = Framer(LIMIT)
        try:
            for _ in range(5):
                assert all(len(data) <= LIMIT for data in framer.feed(dice.randbytes(dice.randrange(50))))
                assert framer.pending <= LIMIT + 4
        except TooLarge:
            refused += 1
    assert refused > 1000


def test_the_limits_are_needed() -> None:
    """Negative control: plain msgpack takes what `unpack` refuses."""
    assert msgpack.unpackb(nested(MAX_DEPTH + 1))
    assert msgpack.unpackb(b"\x82\xa1a\xc0\xa1a\xc0") == {"a": None}
    assert msgpack.unpackb(b"\xd4\x01\x00") == msgpack.ExtType(1, b"\x00")
    assert wire.pack(msgpack.unpackb(nested(3))) == nested(3)
