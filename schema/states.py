"""The states of every unit of work, what each means, who moves it on, and the table of legal moves.

A state moves only through :func:`schema.database.transition`, which checks the move against `MOVES`
and guards it with ``WHERE state = :from``.
"""

from __future__ import annotations

from enum import StrEnum


class NetworkState(StrEnum):
    QUEUED = "queued"  # waits for a worker to train it
    TRAINING = "training"  # a worker trains it under a lease
    READY = "ready"  # has weights: runs can use it
    FAILED = "failed"  # training failed; the error is kept


class CalibrationState(StrEnum):
    WAITING = "waiting"  # its runs are worked on; when all are finished, a worker claims it
    FITTING = "fitting"  # leased: a worker compares parameters on the raw samples of its runs
    READY = "ready"  # has parameters: runs use them
    FAILED = "failed"  # one of its runs failed, or the fit did; the error is kept


class EmbeddingState(StrEnum):
    SEARCHING = "searching"  # leased: a worker searches, others wait for it
    READY = "ready"  # has chains: problems use it
    FAILED = "failed"  # nothing was found; the error is kept, the next who needs it searches again


class PreparationState(StrEnum):
    QUEUED = "queued"  # waits for a worker
    PREPARING = "preparing"  # leased: a worker asks the solver for its graph, and finds an embedding
    READY = "ready"  # has a plan
    FAILED = "failed"  # the solver or the search said no; the error is kept


class RunState(StrEnum):
    QUEUED = "queued"  # committed; the first claimed batch makes it running
    RUNNING = "running"  # batches are sampled and scored; the last one moves it on
    AGGREGATING = "aggregating"  # every batch is at its end; aggregate_run moves it on
    DONE = "done"  # statistics are stored
    FAILED = "failed"  # at least one batch failed for good; what was scored is kept
    CANCELLED = "cancelled"  # by hand; what was scored is kept
    PAUSED = "paused"  # by hand, outside its window or budget spent: its batches are not claimed


class PausedBy(StrEnum):
    """What paused a run, and so what it waits for."""

    HAND = "hand"  # `runs pause`: until `runs resume`
    BUDGET = "budget"  # its own budget is spent: until `runs resume --budget`
    DAY = "day"  # the solver's budget of a day is spent: until the next day (UTC)
    WINDOW = "window"  # its window is closed, or closes too soon: until the next one opens
    DEADLINE = "deadline"  # it is over: what is in flight is collected, then the run has failed


class ScheduleState(StrEnum):
    ACTIVE = "active"  # the reconciler makes a firing whenever it is due
    PAUSED = "paused"  # by hand; what falls due meanwhile is not made up for


class FiringState(StrEnum):
    DUE = "due"  # `annealq schedules serve` makes a run of it
    ENQUEUED = "enqueued"  # has a run
    FAILED = "failed"  # no run could be made; the error is kept, the next due time is tried again


class BatchState(StrEnum):
    PENDING = "pending"  # waits until due_at; a worker claims it
    SAMPLING = "sampling"  # leased: Q is built, problems are sampled
    SAMPLED = "sampled"  # raw sample sets are stored; aggregate_batch scores them
    SCORED = "scored"  # classifications are stored
    FAILED = "failed"  # its attempts are used up; the error is kept


class ProblemState(StrEnum):
    RESERVED = "reserved"  # intent: known to us alone, costs nothing
    SENDING = "sending"  # may have left; from here on it may have been charged
    SENT = "sent"  # the solver's id is known
    ANSWERED = "answered"  # the raw sample set is stored
    FAILED = "failed"  # the solver refused or failed it
    CANCELLED = "cancelled"  # withdrawn before it was answered


class DeliveryState(StrEnum):
    PENDING = "pending"  # waits until due_at; the API sends it
    SENDING = "sending"  # leased: an API process asks the receiver to take it
    DELIVERED = "delivered"  # the receiver has said so
    FAILED = "failed"  # given up; the error is kept


State = (
    NetworkState
    | CalibrationState
    | EmbeddingState
    | PreparationState
    | RunState
    | ScheduleState
    | FiringState
    | BatchState
    | ProblemState
    | DeliveryState
)

MOVES: dict[type[StrEnum], dict[StrEnum, frozenset[StrEnum]]] = {
    NetworkState: {
        NetworkState.QUEUED: frozenset({NetworkState.TRAINING, NetworkState.FAILED}),
        # Back to queued when a lease ran out: the next worker starts over from the seed.
        NetworkState.TRAINING: frozenset({NetworkState.READY, NetworkState.FAILED, NetworkState.QUEUED}),
        NetworkState.READY: frozenset(),
        NetworkState.FAILED: frozenset({NetworkState.QUEUED}),
    },
    CalibrationState: {
        CalibrationState.WAITING: frozenset({CalibrationState.FITTING, CalibrationState.FAILED}),
        # Back to waiting when a lease ran out: the fit has no memory and starts over.
        CalibrationState.FITTING: frozenset(
            {CalibrationState.READY, CalibrationState.FAILED, CalibrationState.WAITING}
        ),
        CalibrationState.READY: frozenset(),
        CalibrationState.FAILED: frozenset(),
    },
    EmbeddingState: {
        # Searching again when a lease ran out: another worker that needs the embedding takes over.
        EmbeddingState.SEARCHING: frozenset(
            {EmbeddingState.READY, EmbeddingState.FAILED, EmbeddingState.SEARCHING}
        ),
        EmbeddingState.READY: frozenset(),
        EmbeddingState.FAILED: frozenset({EmbeddingState.SEARCHING}),
    },
    PreparationState: {
        PreparationState.QUEUED: frozenset({PreparationState.PREPARING, PreparationState.FAILED}),
        # Back to queued when a lease ran out.
        PreparationState.PREPARING: frozenset(
            {PreparationState.READY, PreparationState.FAILED, PreparationState.QUEUED}
        ),
        PreparationState.READY: frozenset(),
        PreparationState.FAILED: frozenset(),
    },
    RunState: {
        RunState.QUEUED: frozenset({RunState.RUNNING, RunState.PAUSED, RunState.CANCELLED, RunState.FAILED}),
        RunState.RUNNING: frozenset(
            {RunState.AGGREGATING, RunState.PAUSED, RunState.CANCELLED, RunState.FAILED}
        ),
        # A paused run may see its last batch scored, which was under way when it was paused.
        RunState.PAUSED: frozenset(
            {RunState.QUEUED, RunState.RUNNING, RunState.CANCELLED, RunState.AGGREGATING}
        ),
        RunState.AGGREGATING: frozenset({RunState.DONE, RunState.FAILED}),
        RunState.DONE: frozenset(),
        RunState.FAILED: frozenset({RunState.QUEUED}),
        RunState.CANCELLED: frozenset(),
    },
    ScheduleState: {
        ScheduleState.ACTIVE: frozenset({ScheduleState.PAUSED}),
        ScheduleState.PAUSED: frozenset({ScheduleState.ACTIVE}),
    },
    FiringState: {
        FiringState.DUE: frozenset({FiringState.ENQUEUED, FiringState.FAILED}),
        FiringState.ENQUEUED: frozenset(),
        FiringState.FAILED: frozenset(),
    },
    BatchState: {
        BatchState.PENDING: frozenset({BatchState.SAMPLING, BatchState.FAILED}),
        BatchState.SAMPLING: frozenset({BatchState.SAMPLED, BatchState.PENDING, BatchState.FAILED}),
        BatchState.SAMPLED: frozenset({BatchState.SCORED, BatchState.FAILED}),
        BatchState.SCORED: frozenset(),
        BatchState.FAILED: frozenset({BatchState.PENDING}),
    },
    ProblemState: {
        # A solver in the worker's own process answers without ever sending.
        ProblemState.RESERVED: frozenset(
            {ProblemState.SENDING, ProblemState.ANSWERED, ProblemState.FAILED, ProblemState.CANCELLED}
        ),
        # Back to reserved when the label is provably unknown to the solver.
        ProblemState.SENDING: frozenset(
            {ProblemState.SENT, ProblemState.RESERVED, ProblemState.FAILED, ProblemState.CANCELLED}
        ),
        ProblemState.SENT: frozenset({ProblemState.ANSWERED, ProblemState.FAILED, ProblemState.CANCELLED}),
        ProblemState.ANSWERED: frozenset(),
        ProblemState.FAILED: frozenset(),
        ProblemState.CANCELLED: frozenset(),
    },
    DeliveryState: {
        DeliveryState.PENDING: frozenset({DeliveryState.SENDING}),
        # Back to pending when it was not taken, or when a lease ran out: it may then arrive twice.
        DeliveryState.SENDING: frozenset(
            {DeliveryState.DELIVERED, DeliveryState.PENDING, DeliveryState.FAILED}
        ),
        DeliveryState.DELIVERED: frozenset(),
        DeliveryState.FAILED: frozenset(),
    },
}

LIVE_RUNS = (RunState.QUEUED, RunState.RUNNING)  # batches of these may be claimed
HALTED_RUNS = (RunState.PAUSED, RunState.CANCELLED)  # nothing more is sent for these
FINISHED_RUNS = (RunState.DONE, RunState.FAILED, RunState.CANCELLED)
FINISHED_BATCHES = (BatchState.SCORED, BatchState.FAILED)

# What a run forgets when it is paused no longer.
RESUMED: dict[str, None] = {"paused_by": None, "pause_reason": None, "paused_at": None}


def is_legal(source: State, target: State) -> bool:
    """Whether a row may go from ``source`` straight to ``target`` (both of one kind)."""
    return target in MOVES[type(source)][source]
