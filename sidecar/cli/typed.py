"""What was typed, as values: instants, variables, JSON. A wrong one is a usage error that shows a right one."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import click


def instant(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        return float(value)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(value).timestamp()  # without an offset: local time
    except ValueError:
        raise click.BadParameter(f"{value!r} is no time, give 2026-11-21T03:30, or Unix seconds") from None


def variables(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, str] | None:
    for value in values:
        if "=" not in value[1:]:
            raise click.BadParameter(f"{value!r} sets nothing, give NAME=VALUE")
    return {name: text for name, _, text in (value.partition("=") for value in values)} or None


def document(kind: type, example: str) -> Callable[[click.Context, click.Parameter, str | None], Any]:
    def parse(ctx: click.Context, param: click.Parameter, value: str | None) -> Any:
        if value is None:
            return kind()
        try:
            made = json.loads(value)
        except ValueError as error:
            raise click.BadParameter(f"{value!r} is no JSON ({error}), give for example {example}") from None
        if type(made) is not kind:
            raise click.BadParameter(f"{value!r} is no JSON {'array' if kind is list else 'object'}, give {example}")
        return made

    return parse
