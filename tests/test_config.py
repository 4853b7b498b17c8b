"""Settings: defaults, the file, the flag; and that every mistake names itself with its cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar import disk
from sidecar.config import BadConfig, Config, Limits, Retention, Space, load, parse

MIB = 1024 * 1024


def test_no_file_is_needed() -> None:
    assert load(None) == Config()


def test_an_empty_file_changes_nothing() -> None:
    assert parse(b"", "c") == Config()


def test_the_defaults_are_those_of_the_design() -> None:
    config = Config()
    assert config.slots >= 4
    assert (config.timeout, config.grace, config.drain) == (600.0, 5.0, 25.0)
    assert config.retention == Retention(86400.0, 14 * 86400.0, 1024 * MIB)
    assert config.limits == Limits(8 * MIB, MIB, 64 * 1024, 1000)
    assert config.space == Space(disk.RESERVE, 8 * MIB)


def test_a_file_changes_what_it_names_and_nothing_else() -> None:
    config = parse(b"slots = 9\ntimeout = 30\n[retention]\nsucceeded = 60\n[limits]\njob = 1024\n", "c")
    assert config == Config(slots=9, timeout=30.0, retention=Retention(succeeded=60.0), limits=Limits(job=1024))


def test_durations_are_floats_even_when_written_whole() -> None:
    assert type(parse(b"drain = 3", "c").drain) is float


def test_the_flag_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("slots = 9")
    assert load(str(tmp_path / "c.toml"), slots=2).slots == 2
    assert load(str(tmp_path / "c.toml")).slots == 9


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("slot = 9", "unknown key 'slot', known are drain, grace, limits, retention, slots, space, task, timeout"),
        ("[limits]\njobs = 9", "unknown key 'limits.jobs'"),
        ("[queue.mail]\nlimit = 1", "unknown key 'queue'"),
        ("limits = 9", "limits is 9, give a table [limits]"),
        ("slots = 0", "slots is 0, give a whole number from 1"),
        ("slots = 2.5", "slots is 2.5"),
        ("slots = true", "slots is True"),
        ("slots = '4'", "slots is '4'"),
        ("timeout = -1", "timeout is -1, give a number from 0"),
        ("timeout = nan", "timeout is nan"),
        ("timeout = inf", "timeout is inf"),
        ("timeout = '30s'", "timeout is '30s'"),
        ("[retention]\nbytes = 1e9", "retention.bytes is 1000000000.0, give a whole number"),
        ("slots = ", "cannot read c"),
        ("\xff", "cannot read c"),
    ],
)
def test_a_mistake_names_file_key_value_and_cure(text: str, said: str) -> None:
    with pytest.raises(BadConfig) as refused:
        parse(text.encode("latin-1"), "c")
    assert said in str(refused.value)
    assert " c" in str(refused.value)


@pytest.mark.parametrize("slots", [0, -1])
def test_the_flag_is_checked_like_the_file(slots: int) -> None:
    with pytest.raises(BadConfig, match="--slots"):
        load(None, slots=slots)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"cannot read .*gone\.toml: No such file"):
        load(str(tmp_path / "gone.toml"))


def test_a_folder_for_a_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="cannot read"):
        load(str(tmp_path))
