"""Waiting for room with the store closed: an order to end is heard, also in the moment in which there is room."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from sidecar.daemon import opening
from sidecar.errors import NoSpace


class Keeper:
    """A keeper that gives its order when the event is set."""

    def __init__(self, order: str) -> None:
        self.order = order
        self.now = trio.Event()

    async def listen(self, orders: dict[str, Callable[..., None]]) -> None:
        await self.now.wait()
        orders[self.order]()
        await trio.sleep_forever()

    async def beat(self) -> None:
        await trio.sleep_forever()


class Store:
    """A store that finds room at the second try; `also` happens in the same moment."""

    def __init__(self, also: Callable[[], None]) -> None:
        self.tries = 0
        self.closed = False
        self.also = also

    def __call__(self, folder: str) -> Store:
        self.tries += 1
        if self.tries == 1:
            raise NoSpace("full")
        self.also()
        return self

    def close(self) -> None:
        self.closed = True


async def open_with(monkeypatch: pytest.MonkeyPatch, keeper: Keeper, store: Store) -> Any:
    monkeypatch.setattr(opening, "Store", store)
    space = SimpleNamespace(give_up=lambda: False)
    with socket.socket(socket.AF_UNIX) as control:
        control.bind("")
        control.listen()
        return await opening.Opening("/state", space, keeper, control).open([])  # type: ignore[arg-type]


async def test_it_opens_when_there_is_room(monkeypatch: pytest.MonkeyPatch, autojump_clock: Any) -> None:
    store = Store(lambda: None)
    assert await open_with(monkeypatch, Keeper("leave"), store) is store
    assert (store.tries, store.closed) == (2, False)


@pytest.mark.parametrize("order", ["leave", "drain", "now"])
async def test_an_order_to_end_in_that_very_moment_is_heard(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: Any, order: str
) -> None:
    keeper = Keeper(order)
    store = Store(keeper.now.set)
    assert await open_with(monkeypatch, keeper, store) is None
    assert store.closed
