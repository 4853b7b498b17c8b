"""What a zygote becomes when it hears its runtime: one for functions, a warm one, or one for PHP; or cold, and why."""

from __future__ import annotations

import sys
from os import environ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .loop import Zygote


def adopt(zygote: Zygote, record: dict[str, Any]) -> None:
    """Become the zygote of this runtime: its path in front, its environment for every job."""
    sys.path[:] = list(dict.fromkeys([*record.get("path", ()), *sys.path]))
    environ.update(record.get("env", {}))
    if "warm" in record:
        _warm_up(zygote, record)
    elif record.get("kind") == "php":
        _look_for_php(zygote, record)
    else:
        zygote.forks.begin(record)


def _warm_up(zygote: Zygote, record: dict[str, Any]) -> None:
    """Import what this zygote's jobs would import, once; they find its setup done."""
    from . import warm  # others need none of it

    try:
        zygote.files = warm.warm_up(record, zygote.reaper.children)
        zygote.forks.begin({**record, "setup": None})
    except warm.Unsafe as error:
        zygote.cold = str(error)
        zygote.forks.runtime = record  # and no process is forked from here


def _look_for_php(zygote: Zygote, record: dict[str, Any]) -> None:
    from .php import Program  # others need none of it

    program = zygote.files = Program(record)
    zygote.cold = program.reason
    if zygote.cold is None:  # else no process is forked from here
        zygote.forks.begin(record)
        zygote.open_template(record)
