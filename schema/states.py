"""The states of every unit of work, and the table of legal moves between them.

The state of an existing row changes only by the transitions of :mod:`schema.database.transitions`. They check
each move against `MOVES`, guard it with ``WHERE state = :source`` and record it in `events`. The comments say
who moves a row into a state, who moves it out, and when. Times are settings of the worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from enum import StrEnum


class NetworkState(StrEnum):
    """States of a network. An imported network starts in `ready`."""

    # Enqueued by a producer, or released by a worker whose attempt failed. A worker claims it at a hint;
    # a lost hint is sent again after `rehint_s`.
    QUEUED = "queued"
    # Claimed by a worker, which trains it under a lease and stores the weights. If the worker does not renew
    # the lease for `lease_s`, the reconciler releases the network.
    TRAINING = "training"
    # Has weights, so runs can use it. Final.
    READY = "ready"
    # All attempts failed; the last error is stored. Enqueuing the same training again moves it to `queued`.
    FAILED = "failed"


class PlanState(StrEnum):
    """States of the plan of a calibration: what is compared, until it has runs."""

    # Enqueued by a producer, or released by a worker whose attempt failed. A worker claims it at a hint.
    QUEUED = "queued"
    # Claimed by a worker, which finds out under a lease what the settings cost. If the worker does not renew
    # the lease for `lease_s`, the reconciler releases the plan.
    PLANNING = "planning"
    # Its runs are enqueued. Final.
    READY = "ready"
    # The budget is too small, the solver refused, or all attempts failed; the error is stored, and becomes
    # that of the calibration. Final.
    FAILED = "failed"


class CalibrationState(StrEnum):
    """States of a calibration, which compares runs with different parameters."""

    # Enqueued by a producer together with its plan. A worker claims it when the plan and all runs that were
    # made of it have finished.
    WAITING = "waiting"
    # Claimed by a worker, which compares the raw samples of its runs under a lease. If the worker does not
    # renew the lease for `lease_s`, the reconciler releases the calibration.
    FITTING = "fitting"
    # Has parameters, so runs can use them. Final.
    READY = "ready"
    # One of its runs failed, or all attempts to compare them; the error is stored. Final.
    FAILED = "failed"


class EmbeddingState(StrEnum):
    """States of an embedding. The worker that first needs one inserts it and searches for it."""

    # A worker searches under a lease, for up to `embedding_s`; others wait. If the worker does not renew the
    # lease for `lease_s`, one of those that wait takes over.
    SEARCHING = "searching"
    # Has chains, so problems can use it. Final.
    READY = "ready"
    # The search found nothing; the error is stored. After ten minutes the next worker that needs it searches
    # again.
    FAILED = "failed"


class PreparationState(StrEnum):
    """States of a dry run."""

    # Enqueued by a producer, or released by a worker whose attempt failed. A worker claims it at a hint.
    QUEUED = "queued"
    # Claimed by a worker, which reads the solver's graph and finds an embedding under a lease. If the worker
    # does not renew the lease for `lease_s`, the reconciler releases the dry run.
    PREPARING = "preparing"
    # Has a plan. Final.
    READY = "ready"
    # The solver refused, or all attempts failed; the error is stored. Final.
    FAILED = "failed"


class FeatureSetState(StrEnum):
    """States of the feature vectors of one batch, or of one training set, by one backbone."""

    # Enqueued by a producer or worker that needs them, or released by a worker whose attempt failed. A worker
    # claims them at a hint, if a batch or a network still waits for them.
    QUEUED = "queued"
    # Claimed by a worker, which computes them under a lease and stores them part by part. If the worker does
    # not renew the lease for `lease_s`, the reconciler releases them; the next worker goes on after the last
    # part.
    COMPUTING = "computing"
    # All are stored. Final, until they are pruned.
    READY = "ready"
    # All attempts failed; the error is stored, and becomes that of what waits. Whoever needs them again moves
    # them to `queued`.
    FAILED = "failed"


class RunState(StrEnum):
    """States of a run."""

    # Enqueued by a producer, or resumed by a user before any batch was claimed or after it failed. The worker
    # that claims its first batch moves it to `running`.
    QUEUED = "queued"
    # Workers sample and score its batches. When all are scored or failed, it moves to `aggregating`.
    RUNNING = "running"
    # A worker computes its statistics, which takes seconds, and ends it. After a crash it is done again when
    # the reconciler repeats the hint.
    AGGREGATING = "aggregating"
    # All batches are scored and the statistics are stored. Final.
    DONE = "done"
    # At least one batch failed, or the deadline passed; scored images remain. A user may resume it, except
    # after its deadline.
    FAILED = "failed"
    # Cancelled by a user; scored images remain. Workers cancel what is still queued at the solver. Final.
    CANCELLED = "cancelled"
    # Paused by a user, a worker or the reconciler: its batches are not claimed, but problems in flight are
    # collected. `PausedBy` says who resumes it and when.
    PAUSED = "paused"


class IntakeState(StrEnum):
    """States of an intake: the images of a run that are read while workers sample those that were."""

    # A producer reads the source and adds batches to the run. After a crash it stays in this state until
    # `runs resume`, or the same command with the same idempotency key, reads on.
    READING = "reading"
    # A row of the source cannot be used; the error is stored. A user repairs it and reads on, or cancels the
    # run.
    STOPPED = "stopped"
    # All images are read, or the deadline of the run has passed: no batch is added any more. Final.
    ENDED = "ended"


class PausedBy(StrEnum):
    """Who paused a run, and so what it waits for."""

    HAND = "hand"  # a user, until `runs resume`
    BUDGET = "budget"  # a worker, because the run's budget is spent: until `runs resume --budget`
    DAY = "day"  # a worker, because the solver's budget of the day is spent: until the next day (UTC)
    MONTH = "month"  # a worker, because the solver's budget of the month is spent: until the next one (UTC)
    WINDOW = "window"  # the window is closed or closes too soon: until the reconciler sees the next one open
    DEADLINE = "deadline"  # the deadline has passed: the run fails when problems in flight are collected


class ScheduleState(StrEnum):
    """States of a schedule."""

    ACTIVE = "active"  # the reconciler creates a firing whenever the schedule is due; a user may pause it
    PAUSED = "paused"  # paused by a user until the user resumes it; firings due meanwhile are skipped


class FiringState(StrEnum):
    """States of a firing: one due time of a schedule."""

    DUE = (
        "due"  # created by the reconciler or a user; `annealq schedules serve` enqueues a run within seconds
    )
    ENQUEUED = "enqueued"  # has a run; final
    FAILED = (
        "failed"  # no run could be enqueued; the error is stored; final, the next due time is tried again
    )


class BatchState(StrEnum):
    """States of a batch."""

    # Enqueued with its run, or released by a worker or the reconciler to be retried at `due_at`, which backs
    # off from `retry_base_s` to `retry_limit_s`. A worker claims it at a hint. If its network begins with a
    # backbone, it is not claimed before its feature vectors are computed or have failed.
    PENDING = "pending"
    # Claimed by a worker, which samples its problems under a lease. If the worker does not renew the lease
    # for `lease_s`, the reconciler releases the batch.
    SAMPLING = "sampling"
    # Raw sample sets are stored, of all images unless it was given up. A worker scores it at the next hint; a
    # lost hint is sent again after `rehint_s`.
    SAMPLED = "sampled"
    # Its classifications are stored. Final. (A batch of which images were given up moves to `failed`.)
    SCORED = "scored"
    # The `max_attempts` claims failed, an error was permanent, or the deadline passed; the error is stored.
    # Images whose problems were answered are classified, and the error names the others.
    # `runs resume` moves it back to `pending`.
    FAILED = "failed"


class ProblemState(StrEnum):
    """States of a problem in the ledger."""

    # Written by the worker that holds the batch, before it may submit the problem. It costs nothing.
    RESERVED = "reserved"
    # The worker is submitting it: from here on it may be charged. If the outcome is unknown, the next worker
    # looks for its label, after `quarantine_s` at the latest, and moves it to `sent` or back to `reserved`.
    SENDING = "sending"
    # The solver has accepted it and its id is stored. The worker polls for the answer.
    SENT = "sent"
    # The raw sample set is stored. Final, unless its reads show that the chip was programmed wrongly.
    ANSWERED = "answered"
    # The solver refused it or failed, or programmed it wrongly: then its reads remain, and are not used.
    # Final: what is missing is reserved again as another problem.
    FAILED = "failed"
    # Cancelled before it was answered, because its run was cancelled or its terms changed. Final.
    CANCELLED = "cancelled"


class DeliveryState(StrEnum):
    """States of a webhook delivery."""

    # Enqueued by the API when there is something to tell, or released after a failed attempt until `due_at`.
    PENDING = "pending"
    # Claimed by an API process, which sends the request under a lease of a minute. If that expires, another
    # process sends it again, so it may arrive twice.
    SENDING = "sending"
    # The receiver has answered with 2xx. Final, unless a user sends it again.
    DELIVERED = "delivered"
    # The receiver refused it, or all attempts of about a day failed; the error is stored. Final, unless a
    # user sends it again.
    FAILED = "failed"


State = (
    NetworkState
    | FeatureSetState
    | PlanState
    | CalibrationState
    | EmbeddingState
    | PreparationState
    | RunState
    | IntakeState
    | ScheduleState
    | FiringState
    | BatchState
    | ProblemState
    | DeliveryState
)

MOVES: Mapping[type[StrEnum], Mapping[StrEnum, Set[StrEnum]]] = {
    NetworkState: {
        NetworkState.QUEUED: {NetworkState.TRAINING, NetworkState.FAILED},
        NetworkState.TRAINING: {NetworkState.READY, NetworkState.FAILED, NetworkState.QUEUED},
        NetworkState.READY: set(),
        NetworkState.FAILED: {NetworkState.QUEUED},
    },
    PlanState: {
        PlanState.QUEUED: {PlanState.PLANNING, PlanState.FAILED},
        PlanState.PLANNING: {PlanState.READY, PlanState.FAILED, PlanState.QUEUED},
        PlanState.READY: set(),
        PlanState.FAILED: set(),
    },
    CalibrationState: {
        CalibrationState.WAITING: {CalibrationState.FITTING, CalibrationState.FAILED},
        CalibrationState.FITTING: {CalibrationState.READY, CalibrationState.FAILED, CalibrationState.WAITING},
        CalibrationState.READY: set(),
        CalibrationState.FAILED: set(),
    },
    EmbeddingState: {
        EmbeddingState.SEARCHING: {EmbeddingState.READY, EmbeddingState.FAILED, EmbeddingState.SEARCHING},
        EmbeddingState.READY: set(),
        EmbeddingState.FAILED: {EmbeddingState.SEARCHING},
    },
    PreparationState: {
        PreparationState.QUEUED: {PreparationState.PREPARING, PreparationState.FAILED},
        PreparationState.PREPARING: {
            PreparationState.READY, PreparationState.FAILED, PreparationState.QUEUED,
        },
        PreparationState.READY: set(),
        PreparationState.FAILED: set(),
    },
    FeatureSetState: {
        FeatureSetState.QUEUED: {FeatureSetState.COMPUTING, FeatureSetState.FAILED},
        FeatureSetState.COMPUTING: {
            FeatureSetState.READY, FeatureSetState.FAILED, FeatureSetState.QUEUED,
        },
        FeatureSetState.READY: set(),
        FeatureSetState.FAILED: {FeatureSetState.QUEUED},
    },
    RunState: {
        RunState.QUEUED: {RunState.RUNNING, RunState.PAUSED, RunState.CANCELLED, RunState.FAILED},
        RunState.RUNNING: {RunState.AGGREGATING, RunState.PAUSED, RunState.CANCELLED, RunState.FAILED},
        # The last batch of a paused run may be scored: it was being sampled when the run was paused.
        RunState.PAUSED: {RunState.QUEUED, RunState.RUNNING, RunState.CANCELLED, RunState.AGGREGATING},
        RunState.AGGREGATING: {RunState.DONE, RunState.FAILED},
        RunState.DONE: set(),
        RunState.FAILED: {RunState.QUEUED},
        RunState.CANCELLED: set(),
    },
    IntakeState: {
        IntakeState.READING: {IntakeState.STOPPED, IntakeState.ENDED},
        IntakeState.STOPPED: {IntakeState.READING, IntakeState.ENDED},
        IntakeState.ENDED: set(),
    },
    ScheduleState: {
        ScheduleState.ACTIVE: {ScheduleState.PAUSED},
        ScheduleState.PAUSED: {ScheduleState.ACTIVE},
    },
    FiringState: {
        FiringState.DUE: {FiringState.ENQUEUED, FiringState.FAILED},
        FiringState.ENQUEUED: set(),
        FiringState.FAILED: set(),
    },
    BatchState: {
        BatchState.PENDING: {BatchState.SAMPLING, BatchState.SAMPLED, BatchState.FAILED},
        BatchState.SAMPLING: {BatchState.SAMPLED, BatchState.PENDING, BatchState.FAILED},
        BatchState.SAMPLED: {BatchState.SCORED, BatchState.FAILED},
        BatchState.SCORED: set(),
        BatchState.FAILED: {BatchState.PENDING},
    },
    ProblemState: {
        # A solver in the worker's own process answers without a submission.
        ProblemState.RESERVED: {
            ProblemState.SENDING, ProblemState.ANSWERED, ProblemState.FAILED, ProblemState.CANCELLED,
        },
        ProblemState.SENDING: {
            ProblemState.SENT, ProblemState.RESERVED, ProblemState.FAILED, ProblemState.CANCELLED,
        },
        ProblemState.SENT: {ProblemState.ANSWERED, ProblemState.FAILED, ProblemState.CANCELLED},
        ProblemState.ANSWERED: {ProblemState.FAILED},
        ProblemState.FAILED: set(),
        ProblemState.CANCELLED: set(),
    },
    DeliveryState: {
        DeliveryState.PENDING: {DeliveryState.SENDING},
        DeliveryState.SENDING: {DeliveryState.DELIVERED, DeliveryState.PENDING, DeliveryState.FAILED},
        DeliveryState.DELIVERED: {DeliveryState.PENDING},
        DeliveryState.FAILED: {DeliveryState.PENDING},
    },
}  # fmt: skip

LIVE_RUNS = (RunState.QUEUED, RunState.RUNNING)  # their batches may be claimed
HALTED_RUNS = (RunState.PAUSED, RunState.CANCELLED)  # no problems are submitted for them
FINISHED_RUNS = (RunState.DONE, RunState.FAILED, RunState.CANCELLED)
FINISHED_BATCHES = (BatchState.SCORED, BatchState.FAILED)

# Columns to clear when a run is no longer paused.
RESUMED: dict[str, None] = {"paused_by": None, "pause_reason": None, "paused_at": None}


def is_legal(source: State, target: State) -> bool:
    """Return whether a row may move from ``source`` straight to ``target``, which are states of one kind."""
    return target in MOVES[type(source)][source]
