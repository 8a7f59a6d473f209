"""The table of legal moves."""

from __future__ import annotations

import pytest

from schema.states import MOVES, BatchState, CalibrationState, NetworkState, RunState, is_legal


@pytest.mark.parametrize("kind", MOVES)
def test_every_state_has_its_moves_and_can_be_reached(kind: type) -> None:
    assert set(MOVES[kind]) == set(kind)
    first = next(iter(kind))
    reached, fringe = {first}, [first]
    while fringe:
        new = MOVES[kind][fringe.pop()] - reached
        reached |= new
        fringe += new
    assert reached == set(kind)


@pytest.mark.parametrize(
    "final",
    [RunState.DONE, RunState.CANCELLED, BatchState.SCORED, NetworkState.READY, CalibrationState.READY],
)
def test_what_is_finished_stays_so(final: RunState) -> None:
    assert not any(is_legal(final, state) for state in type(final))


def test_nothing_is_scored_that_was_not_sampled() -> None:
    assert [s for s in BatchState if is_legal(s, BatchState.SCORED)] == [BatchState.SAMPLED]
