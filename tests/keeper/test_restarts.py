"""The pace of restarts: pure, with a clock of the test's own."""

from __future__ import annotations

from sidecar.keeper.restarts import LONGEST_PAUSE, Restarts


def test_the_first_deaths_cost_no_pause() -> None:
    restarts = Restarts()
    assert [restarts.died(float(at), 1.0) for at in range(5)] == [0.0] * 5


def test_more_than_five_in_ten_seconds_cost_more_and_more() -> None:
    restarts = Restarts()
    pauses = [restarts.died(at * 0.1, 0.1) for at in range(14)]
    assert pauses[5:9] == [0.1, 0.2, 0.4, 0.8]
    assert pauses[-1] == LONGEST_PAUSE == max(pauses)


def test_pauses_do_not_end_because_they_spread_the_deaths() -> None:
    restarts = Restarts()
    now = 0.0
    for _ in range(20):
        now += 1.0 + restarts.died(now, 1.0)
    assert restarts.died(now, 1.0) == LONGEST_PAUSE


def test_rare_deaths_never_cost_a_pause() -> None:
    restarts = Restarts()
    assert {restarts.died(at * 8.0, 8.0) for at in range(50)} == {0.0}


def test_one_long_life_ends_the_pauses() -> None:
    restarts = Restarts()
    for at in range(10):
        restarts.died(at * 0.1, 0.1)
    assert restarts.died(20.0, 15.0) == 0.0


def test_only_work_ends_a_row_of_deaths() -> None:
    """A daemon that hangs on its datagram lives long, and still dies of it."""
    restarts = Restarts()
    for at in range(3):
        restarts.died(at * 31.0, 30.0)
    assert restarts.row == 3
    restarts.proven()
    assert restarts.row == 0


def test_a_loop_is_not_told_line_by_line() -> None:
    restarts = Restarts()
    said = 0
    for second in range(600):
        restarts.died(float(second), 0.5)
        said += restarts.worth_saying(float(second))
    assert said <= 5 + 10 + 1
