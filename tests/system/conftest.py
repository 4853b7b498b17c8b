"""What the system tests share: daemons with one part exchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.mutant import Mutant

StartMutant = Callable[..., Mutant]


@pytest.fixture
def start_mutant() -> Iterator[StartMutant]:
    """Give a function that starts a mutant: `start_mutant(daemon="poison", zygote="hanging_zygote", heartbeat=3.0)`.

    `daemon` and `zygote` name modules of tests/system/mutants, "" the real one; the rest are settings of the keeper.
    """
    started: list[Mutant] = []

    def start(daemon: str = "", zygote: str = "", config: str = "", slots: int = 4, **settings: object) -> Mutant:
        for part, module in (("daemon", daemon), ("zygote", zygote)):
            if module:
                settings[f"{part}_module"] = f"tests.system.mutants.{module}"
        started.append(Mutant(settings, config=config, slots=slots))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        one.close()
