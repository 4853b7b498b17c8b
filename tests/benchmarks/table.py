"""A row of the table and how it is printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass


@dataclass
class Row:
    """One figure: `unit` says of what; the peer is something bare that was measured in the same run."""

    what: str
    unit: str
    p50: float
    p99: float | None = None
    peer: str = ""
    peer_p50: float | None = None
    goal: str = ""

    @property
    def ratio(self) -> float | None:
        """Return how many times the peer's figure ours is."""
        return self.p50 / self.peer_p50 if self.peer_p50 else None


def percentile(values: list[float], share: float) -> float:
    """Return the value below which `share` (0..1) of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def timed(what: str, unit: str, seconds: list[float], scale: float, **more: object) -> Row:
    """Make a row from single durations; `scale` turns seconds into the unit."""
    return Row(what, unit, percentile(seconds, 0.5) * scale, percentile(seconds, 0.99) * scale, **more)  # type: ignore[arg-type]


def show(rows: list[Row], say: Callable[[str], None] = print) -> None:
    """Print the table."""
    say(f"{'what':<52}{'p50':>10}{'p99':>10} {'unit':<7}{'ratio':>8}  {'beside':<44}goal")
    for row in rows:
        p99 = "" if row.p99 is None else _number(row.p99)
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        peer = f"{row.peer} {_number(row.peer_p50)}" if row.peer_p50 is not None else row.peer
        say(f"{row.what:<52}{_number(row.p50):>10}{p99:>10} {row.unit:<7}{ratio:>8}  {peer:<44}{row.goal}")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def write_json(rows: list[Row], path: str) -> None:
    """Write the table for programs."""
    with open(path, "w") as file:
        json.dump([{**asdict(row), "ratio": row.ratio} for row in rows], file, indent=1)
