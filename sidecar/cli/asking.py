"""One question to the daemon, one answer; and what the verbs that ask have in common.

It refuses to know how the answer is shown. A question that lasts (`wait`, `follow`) outlives a daemon that is replaced:
that is the client's doing, which looks for the next one by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

ANSWER = 10.0  # seconds within which a daemon that is there has answered anything that is no wait

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
id_argument = click.argument("id")


def ask(
    method: str,
    *params: Any,
    timeout: float | None = ANSWER,
    on_notice: Callable[[str, list[Any]], None] | None = None,
) -> Any:
    """Send one request on a connection of its own and return its result; `timeout` None waits for ever.

    Raises the daemon's error, Unavailable, or NotAllowed.
    """
    return ask_packed(method, list(params), timeout, on_notice)


def ask_packed(
    method: str,
    params: list[Any] | bytes,
    timeout: float | None = ANSWER,
    on_notice: Callable[[str, list[Any]], None] | None = None,
) -> Any:
    """Do the same with params that may be packed already."""
    from ..client.control import Control  # so that a help text does not pay for sockets and msgpack

    control = Control()
    try:
        return control.request(method, params, timeout=timeout, on_notice=on_notice)
    finally:
        control.close()
