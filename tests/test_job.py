"""The table of transitions: what leads where, and that nothing else does."""

from __future__ import annotations

import itertools

import pytest

from sidecar.job import OUTCOME_OF, TRANSITIONS, Event, IllegalTransition, Outcome, State, after

# The whole table once more, as sentences of the design, so that neither can drift alone.
STEPS = [
    ("scheduled", "due", "queued", None),
    ("scheduled", "cancel", "done", "cancelled"),
    ("scheduled", "expire", "done", "expired"),
    ("scheduled", "reject", "done", "rejected"),
    ("queued", "claim", "running", None),
    ("queued", "cancel", "done", "cancelled"),
    ("queued", "expire", "done", "expired"),
    ("queued", "reject", "done", "rejected"),
    ("running", "give_back", "queued", None),
    ("running", "retry", "scheduled", None),
    ("running", "interrupt", "queued", None),
    ("running", "succeed", "done", "succeeded"),
    ("running", "fail", "done", "failed"),
    ("running", "time_out", "done", "timed_out"),
    ("running", "cancel", "done", "cancelled"),
    ("running", "lose", "done", "lost"),
]
LEGAL = {(state, event) for state, event, _, _ in STEPS}
ILLEGAL = [pair for pair in itertools.product(State, Event) if (pair[0].value, pair[1].value) not in LEGAL]


@pytest.mark.parametrize(("state", "event", "following", "outcome"), STEPS)
def test_a_legal_step_leads_on(state: str, event: str, following: str, outcome: str | None) -> None:
    assert after(State(state), Event(event)) == (following, outcome)


@pytest.mark.parametrize(("state", "event"), ILLEGAL)
def test_every_other_step_is_illegal_and_says_so(state: State, event: Event) -> None:
    with pytest.raises(IllegalTransition, match=f"cannot {event.value} a job that is {state.value}"):
        after(state, event)


def test_the_table_has_no_step_that_is_not_listed_here() -> None:
    assert {(state.value, event.value) for state, events in TRANSITIONS.items() for event in events} == LEGAL


def test_a_job_that_is_done_stays_done() -> None:
    assert TRANSITIONS[State.DONE] == {}


def test_an_outcome_comes_with_done_and_only_with_done() -> None:
    for state, events in TRANSITIONS.items():
        for event in events:
            following, outcome = after(state, event)
            assert (following is State.DONE) == (outcome is not None)


def test_every_state_is_reached_and_left_but_for_the_end() -> None:
    reached = {following for events in TRANSITIONS.values() for following in events.values()}
    assert reached == set(State)
    assert [state for state in State if not TRANSITIONS[state]] == [State.DONE]


def test_every_outcome_has_exactly_one_event() -> None:
    assert sorted(OUTCOME_OF.values()) == sorted(Outcome)


def test_states_and_outcomes_are_their_wire_words() -> None:
    assert [str(state) for state in State] == ["scheduled", "queued", "running", "done"]
    assert f"{Outcome.TIMED_OUT}" == "timed_out"
