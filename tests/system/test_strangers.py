"""Numbers of processes come again: whoever has one that was a job's is never signalled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def among_strangers(zygote: str) -> dict[str, Any]:
    """Run tests.system.small_pids in a PID namespace, and return what it counted."""
    command = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--pid", "--fork"]
    command += ["--mount-proc", "--kill-child", sys.executable, "-m", "tests.system.small_pids", zygote]
    env = {name: value for name, value in os.environ.items() if not name.startswith("SIDECAR_")}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert told["error"] == ""
    assert told["wraps"] >= 10 and told["ended"] >= 500, told
    return told


def test_no_stranger_is_signalled_while_numbers_wrap() -> None:
    assert among_strangers("sidecar.zygote")["signalled"] == []


def test_a_zygote_that_trusts_numbers_would_kill_strangers() -> None:
    assert len(among_strangers("tests.system.mutants.stale_numbers")["signalled"]) >= 3
