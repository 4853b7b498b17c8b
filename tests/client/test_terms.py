"""Options: checked at once, by the daemon's own limits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sidecar import descriptor
from sidecar.client import options, terms
from sidecar.errors import BadRequest

GOOD: list[tuple[str, Any, Any]] = [
    ("timeout", 3, 3.0), ("timeout", timedelta(minutes=1), 60.0), ("timeout", 0.001, 0.001),
    ("grace", 0, 0.0), ("grace", 3600, 3600.0),
    ("queue", "mail-1.x_Y", "mail-1.x_Y"), ("queue", "q" * 64, "q" * 64),
    ("priority", -100, -100), ("priority", 100, 100),
    ("retries", 0, 0), ("retries", 1000, 1000),
    ("at_most_once", True, True), ("at_most_once", False, False),
    ("backoff", [1, timedelta(seconds=2)], [1.0, 2.0]), ("backoff", (0,), [0.0]),
    ("backoff", {"base": 1, "cap": 9}, {"base": 1.0, "cap": 9.0}),
    ("delay", timedelta(days=3650), 315360000.0), ("delay", 0, 0.0),
    ("run_at", 5, 5.0), ("run_at", datetime(2030, 1, 1, tzinfo=UTC), 1893456000.0),
    ("stdin", "ü", b"\xc3\xbc"), ("stdin", b"\xff", b"\xff"), ("stdin", bytearray(b"x"), b"x"),
    ("env", {"A": ""}, {"A": ""}), ("cwd", "/srv", "/srv"), ("cwd", Path("/srv"), "/srv"),
]  # fmt: skip

BAD: list[tuple[str, Any]] = [
    ("timeout", 0), ("timeout", -1), ("timeout", float("nan")), ("timeout", float("inf")), ("timeout", "3"),
    ("timeout", True), ("grace", 3601), ("grace", -0.1), ("queue", ""), ("queue", "a b"), ("queue", "q" * 65),
    ("queue", 5), ("priority", 101), ("priority", 1.5), ("priority", True), ("retries", -1), ("retries", 1001),
    ("at_most_once", 1), ("at_most_once", "yes"),
    ("backoff", []), ("backoff", [-1]), ("backoff", {"bse": 1}), ("backoff", 3), ("delay", -1),
    ("run_at", "soon"), ("run_at", -1), ("run_at", float("nan")), ("stdin", 5), ("env", {"A=B": "x"}),
    ("env", {"A": 5}), ("env", {"A": "\0"}), ("env", {"": "x"}), ("env", "A=B"), ("cwd", "srv"), ("cwd", 5),
    ("cwd", "/a\0b"),
]  # fmt: skip

BAD_HERE: list[tuple[str, Any]] = [
    ("ack", "durable"), ("ack", "Sent"), ("on_unavailable", "retry"), ("deadline", -1), ("deadline", "1"),
    ("run_at", datetime(2030, 1, 1)), ("expires", datetime(2030, 1, 1)), ("expires", -1), ("expires", "x"),
    ("runtime", "shop"), ("runtime", {"pythn": "/x"}), ("runtime", {"kind": "ruby"}), ("runtime", {"kind": 1}),
    ("runtime", {"kind": "php"}), ("runtime", {"kind": "php", "interpreter": "/p"}), ("runtime", {"worker": "/w"}),
    ("runtime", {"kind": "php", "interpreter": "/p", "worker": "/w", "path": []}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "wire"), GOOD)
def test_a_good_option_takes_wire_form_and_the_daemon_takes_it(name: str, value: Any, wire: Any) -> None:
    assert terms.check({name: value}) == {name: wire}
    descriptor.FIELDS[name](name, wire)


@pytest.mark.parametrize(("name", "value"), BAD)
def test_what_the_daemon_refuses_is_refused_at_once(name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=name):
        options(**{name: value})
    with pytest.raises(BadRequest):
        descriptor.FIELDS[name](name, value)


@pytest.mark.parametrize(("name", "value"), BAD_HERE)
def test_what_only_the_client_knows_is_checked_too(name: str, value: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=name):
        options(**{name: value})


def test_an_unknown_option_is_a_type_error_that_names_the_known_ones() -> None:
    with pytest.raises(TypeError, match="'timeot': unknown, known are timeout, grace"):
        options(timeot=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unique"):
        options(unique="x")  # type: ignore[call-arg]


def test_every_option_of_the_wire_is_one_here() -> None:
    not_options = {"id", "call", "argv", "args", "kwargs"}
    assert set(descriptor.FIELDS) - not_options <= set(terms._CHECKS)


def test_every_field_of_a_runtime_is_one_here_of_the_same_kind() -> None:
    for kind, known in terms.RUNTIMES.items():
        assert set(known) == {name for name in descriptor._RUNTIME if descriptor._OF_ONE_KIND.get(name, kind) == kind}
    assert terms.RUNTIMES.keys() == descriptor._CALLS.keys()
    good = {"kind": "php", "interpreter": "/p", "worker": "/w", "bootstrap": "/b", "cwd": "/", "env": {"A": "b"}}
    assert terms.check({"runtime": good}) == {"runtime": good}
    descriptor.parse_runtime(descriptor.wire.pack(good))


def test_none_is_the_same_as_not_given() -> None:
    assert terms.check(dict.fromkeys(terms._CHECKS)) == {}


def test_delay_and_run_at_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="delay or run_at"):
        options(delay=1, run_at=5)


def test_the_environment_sets_the_ack_of_those_that_name_none() -> None:
    assert terms.default_ack({}) == "sent"
    assert terms.default_ack({"SIDECAR_ACK": "stored"}) == "stored"
    with pytest.raises(ValueError, match="SIDECAR_ACK='now': give 'sent' or 'stored'"):
        terms.default_ack({"SIDECAR_ACK": "now"})


def test_what_must_not_run_twice_takes_nothing_that_could_run_it_twice() -> None:
    for contradiction in ({"retries": 1}, {"on_unavailable": "inline"}):
        with pytest.raises(ValueError, match="at_most_once forbids"):
            options(at_most_once=True, **contradiction)
        with pytest.raises(ValueError, match="at_most_once forbids"):
            options(**contradiction).options(at_most_once=True)
        assert options(**contradiction).options(at_most_once=False)
    assert options(at_most_once=True, retries=0, on_unavailable="spool")
