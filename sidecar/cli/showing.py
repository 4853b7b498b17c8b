"""Values as text: for people (columns, ages, sizes) and for programs (JSON). Pure: the caller brings the clock.

Texts of a job come from whoever submitted it: for people control characters are shown, never sent, since an escape
sequence in somebody's argv must not reach the terminal of the one who lists it. A job's own output goes out as it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any


def plain(value: Any) -> Any:
    """Return a copy that JSON can carry: bytes and odd strings as text with replacements, NaN as null."""
    if isinstance(value, (bytes, bytearray)):
        return value.decode("utf-8", "replace")
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def json_line(value: Any) -> str:
    """Return one line of JSON, in ASCII: right whatever the terminal's encoding is."""
    return json.dumps(plain(value))


def printable(text: str) -> str:
    """Return the text with everything that is no visible character spelled out."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in plain(text))


def printable_lines(text: str) -> str:
    """Return a text of several lines with each made printable; tabs stay."""
    return "\n".join(printable(line.expandtabs()) for line in text.splitlines())


_UNITS = ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s"))


def duration(seconds: float) -> str:
    """Return seconds as people say them: 0.8 ms, 3.2 s, 2 min 5 s, 3 h 20 min, 4 d 2 h."""
    for length, name, part, rest in _UNITS:
        if seconds >= length:
            whole, left = divmod(int(seconds), length)
            return f"{whole} {name}" + (f" {left // part} {rest}" if left >= part else "")
    if seconds < 1:
        return f"{_cut(seconds * 1000, 100)} ms"
    return f"{_cut(seconds, 10)} s"


def _cut(number: float, parts: int) -> str:
    """Return a number cut to tenths or hundredths: rounded up, 59.96 s would be shown as 60 s."""
    return f"{math.floor(number * parts) / parts:g}"


def ago(instant: float | None, now: float) -> str:
    """Return an instant as seen from now: "3 s ago", "in 2 min"; "-" for none."""
    if instant is None:
        return "-"
    away = now - instant
    if abs(away) < 1:
        return "now"
    about = " ".join(duration(int(abs(away))).split()[:2])  # "1 min 12 s" says more than a column needs
    return f"{about} ago" if away > 0 else f"in {about}"


def local(instant: float) -> str:
    """Return an instant as local date and time with its offset."""
    return datetime.fromtimestamp(instant).astimezone().isoformat(sep=" ", timespec="seconds")


def when(instant: float | None, now: float) -> str:
    """Return an instant both ways: "2026-11-21 03:30:00+01:00 (3 s ago)"."""
    return "-" if instant is None else f"{local(instant)} ({ago(instant, now)})"


def size(count: float) -> str:
    """Return bytes as people say them: 512 B, 1.5 KiB, 3 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{_cut(count, 10)} {unit}"
        count /= 1024
    return f"{_cut(count, 10)} TiB"


def columns(rows: Iterable[Sequence[object]]) -> list[str]:
    """Return lines with their columns aligned; the last column is left as long as it is."""
    texts = [[printable(str(cell)) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)), row[-1]]).rstrip()
        for row in texts
    ]


# Types of error that the daemon names, not an exception: their message says it all (policy.what_went_wrong).
_OURS = (
    "Timeout", "Cancelled", "Interrupted", "Signal", "ExitStatus", "NoResult", "CommandNotFound", "CommandError",
    "FolderError",
)  # fmt: skip


def ending(status: dict[str, Any]) -> str:
    """Return how a job stands in a few words: its state, or when it is done its outcome and why."""
    state, outcome, error = str(status["state"]), str(status.get("outcome")), status.get("error")
    if state != "done":
        return state + (", asked to end" if status.get("cancel_wanted") else "")
    if outcome == "succeeded":
        return outcome
    why = status.get("reason") or ""
    if error and not why:
        why = error["message"] if error["type"] in _OURS else f"{error['type']}: {error['message']}"
    return printable(f"{outcome}: {why}") if why else outcome


def last_attempt(status: dict[str, Any]) -> dict[str, Any]:
    """Return the newest attempt of a status map; an empty map when nothing was started."""
    attempts: list[dict[str, Any]] = status.get("attempts") or []
    return attempts[-1] if attempts else {}
