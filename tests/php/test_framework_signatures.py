"""The bridges held against the signatures of the frameworks as they are today, which Debian does not have."""

from __future__ import annotations

import json
import subprocess
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from .script import PHP, needs_php

pytestmark = needs_php

HERE = Path(__file__).parent
TABLES: dict[str, dict[str, Any]] = json.loads((HERE / "signatures.json").read_text())


def complaint(table: dict[str, Any]) -> str:
    """Return what PHP finds wrong with our classes where the framework is as a table says; "" for nothing."""
    assert PHP is not None
    flags = ("-d", "display_errors=stdout", "-d", "log_errors=0")
    done = subprocess.run(
        [PHP, *flags, str(HERE / "signatures.php")], input=json.dumps(table), capture_output=True, text=True, timeout=60
    )
    if done.returncode:
        return done.stdout
    return "\n".join(json.loads(done.stdout))


@pytest.mark.parametrize("framework", TABLES)
def test_a_bridge_fits_the_framework_as_it_is_today(framework: str) -> None:
    assert complaint(TABLES[framework]) == ""


CHANGES = [
    ("laravel", "pop($queue = null)", "pop($queue = null, $index = 0)", "SidecarQueue::pop($queue = null) must be"),
    ("laravel", "connect(array $config)", "connect(string $config)", "must be compatible"),
    ("laravel", "public function pendingSize", "public function pendingSizes", "SidecarQueue contains 1 abstract"),
    ("laravel", "protected $config", "protected $client", "SidecarQueue::$client"),
    ("laravel", "$maxTries = 1", "$tries = 1", "WorkerOptions::__construct takes (name"),
    ("laravel", "process($connectionName, ", "process($connectionName, $queue, ", "we give 3"),
    ("symfony", "get(): iterable", "get(int $most): iterable", "Sidecar\\Bridge\\Symfony\\Transport::get()"),
    ("symfony", "build(\\Symfony", "build(string $name, \\Symfony", "SidecarBundle::build"),
    ("symfony", "$receiverName, \\Throwable $error)", "$receiverName, $retry, \\Throwable $error)", "we give 3"),
]


@pytest.mark.parametrize(("framework", "old", "new", "said"), CHANGES)
def test_a_signature_that_has_changed_is_found(framework: str, old: str, new: str, said: str) -> None:
    table = deepcopy(TABLES[framework])
    table["declared"] = {
        head: [member.replace(old, new) for member in members] for head, members in table["declared"].items()
    }
    assert table != TABLES[framework]
    assert said in complaint(table)
