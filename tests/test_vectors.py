"""Every frame of clients/vectors.json through `wire` and `protocol`: the file is the source, our code follows it."""

from __future__ import annotations

import pytest

from sidecar import descriptor, protocol, wire
from sidecar.errors import BY_CODE

from . import vectors

CLIENT = vectors.load()
GOOD = [vector for vector in CLIENT if "error" not in vector]
BAD = [vector for vector in CLIENT if "error" in vector]
DAEMON = vectors.load("daemon")

DEFAULTS = {"queue": "default", "priority": 0, "due": 0.0, "expires": None, "runtime": None}


@pytest.mark.parametrize("vector", GOOD, ids=vectors.name_of)
def test_a_good_message_means_what_the_file_says(vector: vectors.Vector) -> None:
    assert vectors.messages_of(vector) == [vectors.value_of(vector["meaning"])]


@pytest.mark.parametrize("vector", [v for v in GOOD if "job" in v], ids=vectors.name_of)
def test_a_good_submit_is_kept_as_the_file_says(vector: vectors.Vector) -> None:
    job = vectors.job_of(vector)
    assert job is not None
    wanted = {**DEFAULTS, **vectors.value_of(vector["job"])}
    assert descriptor.show_id(job.id) == wanted.pop("id")
    assert wire.unpack(job.body) == wanted.pop("options")
    assert {name: getattr(job, name) for name in wanted} == wanted
    assert job.rejected is None


@pytest.mark.parametrize("vector", [v for v in BAD if not v.get("live")], ids=vectors.name_of)
def test_a_bad_message_is_refused_with_its_code(vector: vectors.Vector) -> None:
    with pytest.raises(BY_CODE[vector["error"]]) as refused:
        vectors.job_of(vector)
    assert refused.value.code == vector["error"]  # pytest.raises takes subclasses too
    assert str(refused.value).startswith("cannot ")


@pytest.mark.parametrize("vector", [v for v in BAD if v["transport"] == "datagram"], ids=vectors.name_of)
def test_a_bad_datagram_can_be_asked_for_where_its_id_was_readable(vector: vectors.Vector) -> None:
    assert vectors.rejected_of(vector) == vector["rejected"]


@pytest.mark.parametrize("vector", [v for v in BAD if v["transport"] == "stream"], ids=vectors.name_of)
def test_a_refusal_on_the_stream_names_its_request_where_it_was_readable(vector: vectors.Vector) -> None:
    assert vectors.number_of(vector) == vector["number"]


@pytest.mark.parametrize("vector", DAEMON, ids=vectors.name_of)
def test_what_a_daemon_says_is_packed_exactly_so(vector: vectors.Vector) -> None:
    assert wire.frame(vectors.value_of(vector["meaning"])).hex() == vector["hex"]


def test_names_are_unique() -> None:
    names = [vectors.name_of(vector) for vector in [*CLIENT, *DAEMON]]
    assert len(set(names)) == len(names)


def test_every_verb_has_a_good_frame() -> None:
    said = {vector["meaning"][2] for vector in GOOD if vector["transport"] == "stream"}
    assert said == set(protocol.VERBS)


def test_every_field_of_a_job_has_a_good_frame_and_a_bad_one() -> None:
    good = {name for vector in GOOD if vector["transport"] == "datagram" for name in vector["meaning"][2][0]}
    assert good == set(descriptor.FIELDS)
    assert set(descriptor.FIELDS) <= {field for vector in BAD for field in _named(vector)}


def _named(vector: vectors.Vector) -> list[str]:
    """Return the fields that a refused job gave."""
    try:
        value = protocol.parse_handoff(vectors.messages_of(vector)[0])
    except Exception:
        return []
    return list(value) if isinstance(value, dict) else []


def test_the_connection_is_closed_after_what_is_no_message_and_only_then() -> None:
    for vector in BAD:
        if vector["transport"] == "stream":
            assert vector["closed"] == (vector["error"] in ("bad_frame", "too_large")), vector["name"]


def test_a_wrong_expectation_is_found() -> None:
    """Negative control: the checks above can fail."""
    with pytest.raises(AssertionError):
        test_a_good_message_means_what_the_file_says({**GOOD[0], "meaning": []})
    with pytest.raises(pytest.fail.Exception):
        test_a_bad_message_is_refused_with_its_code({**GOOD[0], "error": "bad_frame"})
    with pytest.raises(AssertionError):
        test_what_a_daemon_says_is_packed_exactly_so({**DAEMON[0], "hex": "00"})
