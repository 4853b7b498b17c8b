"""Run it: `python -m tests.torture [kills] [points] [power] [faults] [endurance] [--seed N] [--size long]`."""

from __future__ import annotations

import argparse
import random
import signal
import sys

from .runner import PARTS, SIZES, run


def main() -> None:
    """Say the seed first, so that a run that is interrupted can be had again; exit 1 when anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], metavar="part", help=f"{', '.join(PARTS)}; all")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--size", choices=SIZES, default="usual")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that what runs is ended too
    print(f"torture: seed {given.seed}, {SIZES[given.size]}", flush=True)
    sys.exit(not run(given.parts or list(PARTS), SIZES[given.size], given.seed))


if __name__ == "__main__":
    main()
