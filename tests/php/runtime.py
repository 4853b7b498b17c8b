"""The PHP that tests run jobs in, and what to do where there is none."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest

PHP = shutil.which("php") or "/no/php"
HERE = os.path.dirname(os.path.abspath(__file__))
CLIENT = os.path.join(os.path.dirname(os.path.dirname(HERE)), "clients", "php")
WORKER = os.path.join(CLIENT, "bin", "sidecar-php-worker")

needs_php = pytest.mark.skipif(not os.path.exists(PHP), reason="no php here: install php-cli to run PHP jobs")


def record(bootstrap: str | None = "bootstrap.php", **more: Any) -> dict[str, Any]:
    """Return a runtime record; `bootstrap` is a file beside this one, None for none."""
    given = {} if bootstrap is None else {"bootstrap": os.path.join(HERE, bootstrap)}
    return {"kind": "php", "interpreter": PHP, "worker": WORKER, **given, **more}
