"""The same, which never asks the keeper for a zygote's end: the negative control."""

from __future__ import annotations

from sidecar.daemon import overdue

from . import impatient


def main() -> None:
    async def answers(self: overdue.Overdue, *whom: object) -> bool:
        return True

    overdue.Overdue._answers = answers  # type: ignore[method-assign,assignment]
    impatient.main()
