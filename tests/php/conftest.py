"""Fixtures that several modules of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .mariadb import mariadb
from .ticks import QUEUES, Host, hosting

__all__ = ["folder_host", "host", "mariadb"]


@pytest.fixture(params=QUEUES)
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    with hosting(request.param, request) as host:
        yield host


@pytest.fixture
def folder_host(request: pytest.FixtureRequest) -> Iterator[Host]:
    with hosting("folder", request) as host:
        yield host
