"""The walls of the house: who may import what. The table is the design's (section 8), read off the source by `ast`."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import sidecar

ROOT = Path(sidecar.__file__).parent

# From the roof to the ground, as the map in sidecar/__init__.py: a room imports from itself and from below.
ROOMS = (
    "__main__", "cli", "daemon", "keeper", "zygote", "client", "store", "rows", "protocol", "config", "tasks",
    "descriptor", "wire", "policy", "job", "disk", "errors", "places", "boot", "crashpoints",
)  # fmt: skip

# Which rooms may import what is not everybody's; anything outside the standard library that is not named is nobody's.
ONLY_IN = {
    "trio": {"daemon"},
    "sqlite3": {"store"},
    "click": {"cli"},
    "msgpack": {"wire", "client", "zygote"},
}

# Room, module, what: allowed inside a function or for the type checker, never when the module is imported.
LATE = {("client.aio", "trio")}

# The keeper outlives everything and is the last to be mended: few imports, none of them slow or clever.
NOT_IN_KEEPER = {
    "asyncio", "concurrent", "dataclasses", "inspect", "logging", "multiprocessing", "subprocess", "threading",
}  # fmt: skip

# Nouns and words take bytes, values and `now`: no I/O, no clock, no dice.
PURE = {"errors", "job", "rows", "policy", "wire", "protocol", "descriptor", "tasks", "config", "places"}
NOT_PURE = {
    "_socket", "asyncio", "datetime", "random", "select", "selectors", "signal", "socket", "subprocess", "threading",
    "time",
}  # fmt: skip


class Import(NamedTuple):
    """One import statement: in which module, of what, and whether importing that module runs it."""

    module: str
    target: str
    at_once: bool
    line: int

    @property
    def room(self) -> str:
        return self.module.partition(".")[0]

    @property
    def own(self) -> str | None:
        """The room of ours that is imported; None for a foreign module, "" for the package itself."""
        head, _, rest = self.target.partition(".")
        return rest.partition(".")[0] if head == "sidecar" else None


def imports_of(source: str, module: str, is_package: bool = False) -> Iterator[Import]:
    """Yield every import in the source of sidecar.`module`."""
    tree = ast.parse(source)
    late = {id(inner) for node in ast.walk(tree) if _is_late(node) for inner in ast.walk(node)}
    package = ["sidecar", *module.split(".")][: None if is_package else -1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            targets = _targets(node, package)
        else:
            continue
        for target in targets:
            yield Import(module, target, id(node) not in late, node.lineno)


def _is_late(node: ast.AST) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return True
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _targets(node: ast.ImportFrom, package: list[str]) -> list[str]:
    base = package[: len(package) - node.level + 1] if node.level else []
    base = base + (node.module.split(".") if node.module else [])
    if base == ["sidecar"] or not node.module:  # from . import wire: the names are modules
        return [".".join([*base, alias.name]) for alias in node.names]
    return [".".join(base)]


def faults_of(found: Import) -> list[str]:
    """Return what is wrong with an import, by the tables above."""
    where = f"{found.module}:{found.line} imports {found.target}"
    if found.own is not None:
        return [] if found.own not in ROOMS or _is_below(found.room, found.own) else [f"{where}: that is above it"]
    top = found.target.partition(".")[0]
    if top == "_typeshed" and not found.at_once:  # the type checker's own, there is no such module
        return []
    faults = []
    if top not in sys.stdlib_module_names and top not in ONLY_IN:
        faults.append(f"{where}: not a dependency of ours")
    if top in ONLY_IN and found.room not in ONLY_IN[top] and not _is_allowed_late(found, top):
        faults.append(f"{where}: only {', '.join(sorted(ONLY_IN[top]))} may")
    if found.room == "keeper" and top in NOT_IN_KEEPER and found.at_once:
        faults.append(f"{where}: too heavy for the keeper")
    if found.room in PURE and top in NOT_PURE:
        faults.append(f"{where}: it is pure")
    return faults


def _is_below(room: str, other: str) -> bool:
    return room == other or room not in ROOMS or ROOMS.index(other) > ROOMS.index(room)


def _is_allowed_late(found: Import, top: str) -> bool:
    return (found.module, top) in LATE and not found.at_once


def module_of(path: Path) -> str:
    """Return the name of a module inside sidecar, "" for the package itself."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").rstrip(".")


SOURCES = sorted(ROOT.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=module_of)
def test_a_module_imports_what_its_room_may(path: Path) -> None:
    found = imports_of(path.read_text(), module_of(path), path.name == "__init__.py")
    assert [fault for one in found for fault in faults_of(one)] == []


def test_every_module_is_in_a_room_and_every_room_is_there() -> None:
    assert {module_of(path).partition(".")[0] for path in SOURCES} - {""} == set(ROOMS)


def test_the_map_names_the_rooms() -> None:
    assert sidecar.__doc__ is not None
    assert [room for room in ROOMS if room not in sidecar.__doc__ and room != "__main__"] == []


BROKEN = [
    ("protocol", "import trio", "only daemon may"),
    ("client.core", "import trio", "only daemon may"),
    ("client.aio", "import trio", "only daemon may"),  # not at import time
    ("client.aio", "import trio.lowlevel", "only daemon may"),
    ("client.core", "def f():\n    import trio", "only daemon may"),  # only aio
    ("daemon.writer", "import sqlite3", "only store may"),
    ("cli.status", "def f():\n    from sqlite3 import connect", "only store may"),
    ("daemon.life", "from click import echo", "only cli may"),
    ("protocol", "import msgpack", "only client, wire, zygote may"),
    ("keeper.loop", "import msgpack", "only client, wire, zygote may"),
    ("store", "import requests", "not a dependency of ours"),
    ("wire", "from .protocol import VERBS", "above"),
    ("wire", "from . import protocol", "above"),
    ("job", "from sidecar.policy import TIMEOUT", "above"),
    ("client.core", "from ..daemon import views", "above"),
    ("client.core", "from ..zygote.child import resolve", "above"),
    ("keeper.loop", "from ..daemon.life import main", "above"),
    ("keeper.loop", "import subprocess", "too heavy"),
    ("policy", "import time", "pure"),
    ("config", "def f():\n    from datetime import datetime", "pure"),
]


@pytest.mark.parametrize(("module", "source", "fault"), BROKEN)
def test_a_broken_wall_is_found(module: str, source: str, fault: str) -> None:
    """Negative control: the checks above can fail."""
    faults = [fault for one in imports_of(source, module) for fault in faults_of(one)]
    assert len(faults) == 1
    assert fault in faults[0]


SOUND = [
    ("client.aio", "def f():\n    import trio"),
    ("client.aio", "if TYPE_CHECKING:\n    import trio"),
    ("protocol", "from . import wire\nfrom .errors import BadFrame"),
    ("daemon.handlers", "from .. import __version__, wire\nfrom ..zygote.channel import Channel\nfrom . import views"),
    ("keeper.loop", "import socket\nfrom ..boot import command"),
]


@pytest.mark.parametrize(("module", "source"), SOUND)
def test_a_sound_import_is_let_be(module: str, source: str) -> None:
    found = list(imports_of(source, module))
    assert found
    assert [fault for one in found for fault in faults_of(one)] == []


def loaded_by(statement: str) -> set[str]:
    """Return what a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30, cwd=ROOT.parent
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["sidecar.client", "sidecar.client.aio"])
def test_a_web_application_gets_the_client_and_nothing_heavy(module: str) -> None:
    loaded = loaded_by(f"import {module}")
    assert module in loaded
    assert not loaded & {"trio", "click", "sqlite3", "_sqlite3"}


def test_the_keeper_loads_nothing_but_the_standard_library() -> None:
    loaded = {name.partition(".")[0] for name in loaded_by("import sidecar.keeper") - loaded_by("pass")}
    assert loaded - {"sidecar"} <= sys.stdlib_module_names
    assert not loaded & NOT_IN_KEEPER


def test_a_heavy_import_is_found() -> None:
    """Negative control."""
    assert {"trio", "click", "sqlite3"} <= loaded_by("import trio, click, sqlite3")
