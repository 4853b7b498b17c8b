"""Fixtures: folders, and keepers in them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import pytest

from .process import Folders, Keeper, end_everything

MakeKeeper = Callable[..., Keeper]


@pytest.fixture
def folders() -> Iterator[Folders]:
    found = Folders()
    yield found
    end_everything(found)
    shutil.rmtree(found.base, ignore_errors=True)


@pytest.fixture
def keeper(folders: Folders) -> Iterator[MakeKeeper]:
    """Give a function that makes a keeper in this test's folders."""
    made: list[Keeper] = []

    def make(mutation: str = "", **options: object) -> Keeper:
        made.append(Keeper(folders, mutation, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    folders.let_continue()
    for one in made:
        if hasattr(one, "process"):
            one.close()
