"""What a job runs: a function, its name, or a command as a list; out comes what the wire carries.

A job finds its function by importing it, so a function travels as "module:qualname" and must be reachable that way
from another process. What cannot be is refused here, at the caller's line, with the way out.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import ModuleType
    from typing import Any

_SAID_OF_A_TASK = frozenset(("ack", "deadline", "delay", "expires", "on_unavailable", "run_at"))


class Named:
    """A task of the daemon's configuration, by its name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not name:
            raise TypeError(f"cannot name a task {name!r}: give the NAME of a [task.NAME] in its configuration")
        self.name = name

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and self.name == other.name

    def __hash__(self) -> int:
        return hash((Named, self.name))

    def __repr__(self) -> str:
        return f"named({self.name!r})"


def task_of(target: Named, options: Mapping[str, Any]) -> str:
    """Return a task's name for the wire. Raises ValueError for an option that only the configuration may set."""
    for name in options:
        if name not in _SAID_OF_A_TASK:
            raise ValueError(
                f"cannot submit {target!r} with {name}: that is said in its configuration, here only "
                + ", ".join(sorted(_SAID_OF_A_TASK))
            )
    if options.get("on_unavailable") == "inline":
        raise ValueError(f"cannot submit {target!r}: only the daemon knows what it runs, give another on_unavailable")
    return target.name


def argv_of(words: Sequence[object]) -> list[str | bytes]:
    """Return a command's words for the wire; paths become texts. Raises TypeError or ValueError naming a wrong word."""
    argv = [_word(place, word) for place, word in enumerate(words)]
    if not argv or not argv[0]:
        raise ValueError(f"cannot submit {words!r}: give the program as first word")
    return argv


def _word(place: int, word: object) -> str | bytes:
    try:
        made = os.fspath(word)  # type: ignore[call-overload]
    except TypeError:
        raise TypeError(f"cannot submit command: word {place} is {word!r}, pass str(...) of it") from None
    if (b"\0" if isinstance(made, bytes) else "\0") in made:
        raise ValueError(f"cannot submit command: word {place} is {word!r}, a word holds no NUL")
    return bytes(made) if isinstance(made, bytes) else str(made)


def call_of(target: object) -> str:
    """Return "module:qualname" for a function, or for its name. Raises TypeError or ValueError with the cure."""
    if isinstance(target, str):
        return _checked_name(target)
    module, name = _module_of(target), getattr(target, "__qualname__", None)
    owner = getattr(target, "__self__", None)
    if isinstance(owner, type):  # a class method: the class it was taken from may inherit it
        module, name = owner.__module__, f"{owner.__qualname__}.{target.__name__}"  # type: ignore[attr-defined]
    elif owner is not None and type(owner) is not type(sys):
        raise TypeError(
            f"cannot submit {target!r}: it belongs to an object that does not go along, "
            "pass a function of a module, and what the job needs to find the object as argument"
        )
    if not isinstance(module, str) or not isinstance(name, str):
        raise TypeError(
            f"cannot submit {target!r}: it has no name to import it by, "
            "pass the function itself with its arguments (instead of functools.partial), or a list for a command"
        )
    _check_reachable(module, name)
    return f"{module}:{name}"


def _module_of(target: object) -> object:
    module = getattr(target, "__module__", None)
    if module is None:  # methods of built-in types
        module = getattr(getattr(target, "__objclass__", None), "__module__", None)
    return module


def _checked_name(text: str) -> str:
    module, colon, name = text.partition(":")
    if not colon or not all(part.isidentifier() for part in f"{module}.{name}".split(".")):
        raise ValueError(
            f'cannot submit {text!r}: give a function as "package.module:function", or a command as a list of words'
        )
    return text


def php_call_of(target: object) -> str:
    """Return the name of a PHP function, method or invokable class. Raises TypeError or ValueError with the cure."""
    if not isinstance(target, str):
        raise TypeError(f"cannot submit {target!r}: its runtime is php, give a PHP function or method by its name")
    name, colons, method = target.partition("::")
    parts = [*name.split("\\"), *([method] if colons else [])]
    if not all(part.isidentifier() for part in parts):
        raise ValueError(
            f"cannot submit {target!r}: its runtime is php, "
            r'give a function, "Class::method" or an invokable class, as "Acme\Mail::send", without a leading backslash'
        )
    return target


def _check_reachable(module: str, name: str) -> None:
    if module == "__main__":
        raise ValueError(
            f"cannot submit {name}: a job cannot import what is only in the script being run, "
            f"move it into a module{_main_hint(name)}"
        )
    if "<lambda>" in name:
        raise ValueError(f"cannot submit a lambda ({module}): a job finds functions by name, use `def` in a module")
    if "<locals>" in name:
        raise ValueError(
            f"cannot submit {name} ({module}): it exists only inside another function, "
            "move it to the top of its module and pass what it closes over as arguments"
        )
    if not _leads_somewhere(sys.modules.get(module), name):
        raise ValueError(f"cannot submit {module}:{name}: it is not found there, pass a name to import")


def _main_hint(name: str) -> str:
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is None or spec.name.endswith("__main__"):
        return ""
    return f', or pass "{spec.name}:{name}"'


def _leads_somewhere(module: ModuleType | None, name: str) -> bool:
    found: object = module
    for part in name.split("."):
        if not hasattr(found, part):
            return module is None  # not imported under this name here: the job will tell
        found = getattr(found, part)
    return True
