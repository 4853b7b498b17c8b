"""The settings: one frozen record, filled from defaults, then the TOML file, then flags. Unknown keys are errors.

No file is needed, and the environment is not read here. `parse` takes a file's bytes; only `load` opens one.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import BadRequest, SidecarError
from .policy import GRACE, TIMEOUT
from .tasks import Tasks, read_tasks

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

R = TypeVar("R", bound="DataclassInstance")
MIB = 1024 * 1024


class BadConfig(SidecarError):
    """The configuration cannot be used; the daemon that runs goes on with the one it has."""

    code = "bad_config"


@dataclass(frozen=True)
class Retention:
    """How long finished jobs can be asked for."""

    succeeded: float = 86400.0  # seconds
    others: float = 14 * 86400.0  # seconds
    bytes: int = 1024 * MIB  # of the whole store; the oldest finished jobs go first


@dataclass(frozen=True)
class Limits:
    """Sizes in bytes, durations in seconds."""

    job: int = 8 * MIB  # one message on the stream, refused from its length prefix
    result: int = MIB  # the packed return value of a call
    output: int = 64 * 1024  # the tail of stdout and stderr that is kept
    connections: int = 1000
    patience: float = 30.0  # for a client to end a message that it began, and to read what it was answered
    memory: int = 64 * MIB  # of all clients together: large messages on their way in, answers that nobody reads


@dataclass(frozen=True)
class Space:
    """Room on the disk of the state folder, in bytes; on a small one a tenth of it, and half of that."""

    reserve: int = 64 * MIB  # no new job is taken in when less is free: what is left is for outcomes
    ballast: int = 8 * MIB  # a file that is given up to record outcomes when there is nothing left


@dataclass(frozen=True)
class Config:
    """All settings. Durations are seconds, sizes bytes."""

    slots: int = max(4, os.cpu_count() or 1)  # attempts at once
    timeout: float = TIMEOUT  # of a job that names none
    grace: float = GRACE  # from SIGTERM to SIGKILL
    drain: float = 25.0  # how long SIGTERM lets running attempts finish
    retention: Retention = Retention()
    limits: Limits = Limits()
    space: Space = Space()
    task: Tasks = field(default_factory=dict)  # by name


def parse(data: bytes, name: str) -> Config:
    """Read a TOML file's bytes; `name` is for the messages. Raises BadConfig naming file, key, value and cure."""
    try:
        table = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"cannot read {name}: {error}") from None
    return _fill(Config(), table, name, "")


def load(path: str | None, slots: int | None = None) -> Config:
    """Read the file at `path` (None: defaults alone); `slots` is the flag, and wins."""
    config = Config()
    if path is not None:
        try:
            with open(path, "rb") as file:
                config = parse(file.read(), path)
        except OSError as error:
            raise BadConfig(f"cannot read {path}: {error.strerror}") from None
    if slots is not None:
        config = replace(config, slots=_checked(config.slots, slots, "--slots", "slots"))
    return config


def _fill(record: R, table: dict[str, Any], name: str, prefix: str) -> R:
    known = {field.name for field in fields(record)}
    given = {}
    for key, value in table.items():
        if key not in known:
            raise BadConfig(f"cannot use {name}: unknown key {prefix + key!r}, known are {', '.join(sorted(known))}")
        default = getattr(record, key)
        if key == "task":
            given[key] = _tasks(value, name)
        elif hasattr(default, "__dataclass_fields__"):
            if not isinstance(value, dict):
                raise BadConfig(f"cannot use {name}: {prefix + key} is {value!r}, give a table [{prefix + key}]")
            given[key] = _fill(default, value, name, f"{prefix}{key}.")
        else:
            given[key] = _checked(default, value, name, prefix + key)
    return replace(record, **given)


def _tasks(value: object, name: str) -> Tasks:
    try:
        return read_tasks(value)
    except BadRequest as error:
        raise BadConfig(f"cannot use {name}: {error}") from None


def _checked(default: Any, value: Any, name: str, key: str) -> Any:
    whole = isinstance(default, int)
    fits = type(value) is int or (not whole and type(value) is float)
    least = 1 if whole else 0
    if not fits or not least <= value < 2**53:
        raise BadConfig(f"cannot use {name}: {key} is {value!r}, give a {'whole ' if whole else ''}number from {least}")
    return value if whole else float(value)
