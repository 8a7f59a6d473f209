"""Named crash points: the instants at which a kill is most dangerous, so that tests can crash exactly there.

    ANNEALQ_CRASH_AT=sending             kill -9 of the process that reaches this point
    ANNEALQ_CRASH_AT=claimed,accepted:3  several points; `accepted` the third time that one process reaches it
    ANNEALQ_CRASH_ONCE=FOLDER            each point kills one process only, the first

Without ANNEALQ_CRASH_AT a point costs one test of an empty dict.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from schema.errors import ParameterError


class CrashPoint(StrEnum):
    """A point, and the risk of a crash there."""

    FEATURES_CLAIMED = "features-claimed"  # the process died while holding the lease of a feature set
    FEATURES_PART = "features-part"  # a part is stored; the next worker goes on after it
    FEATURES_STORED = "features-stored"  # all are stored, and the hints for what waited are lost
    CLAIMED = "claimed"  # the process died while holding the lease of a batch
    RESERVING = "reserving"  # nothing is recorded yet of the problems to send
    RESERVED = "reserved"  # problems are reserved, and nobody sends them
    SENDING = "sending"  # recorded as possibly sent, but not sent: must not be lost
    HALF_POSTED = "half-posted"  # some of a group may have been sent, others were not
    POSTED = "posted"  # being sent, the id is unknown: must not be paid twice
    ACCEPTED = "accepted"  # only the dead process knew the id
    ID_KEPT = "id-kept"  # the id is stored, the answer is not fetched
    ANSWERED = "answered"  # only the dead process had the answer, which is paid
    ANSWER_KEPT = "answer-kept"  # the answer is stored, the batch is not marked complete
    HALF_KEPT = "half-kept"  # some problems of a batch are stored, others are in flight
    SAMPLING_ENDED = "sampling-ended"  # every answer is stored, the batch is not marked sampled
    SAMPLED = "sampled"  # marked, and the hint to score it is lost
    SCORING = "scoring"  # scores were computed and not stored
    COUNTING = "counting"  # scores are written, the run's count is not, nothing is committed
    SCORED = "scored"  # committed, and the hint to end the run is lost
    ROUND_CHOSEN = "round-chosen"  # images to read again were chosen, and nothing is written
    ROUND_WRITTEN = "round-written"  # their batches are written, nothing is committed
    ROUND_BEGUN = "round-begun"  # committed, and the hints for their batches are lost
    AGGREGATING = "aggregating"  # the process died while it finished the run
    AGGREGATED = "aggregated"  # finished; whatever waits for the run is not notified
    TRAINING = "training"  # between two epochs: only the dead process had the weights
    SEARCHING = "searching"  # an embedding was found and not stored; others wait for it
    PLANNING = "planning"  # what a calibration costs is known, and none of its runs is enqueued
    PLANNED = "planned"  # its runs are enqueued, and the hint to sample them is lost
    INTAKE_WRITTEN = "intake-written"  # read images are written as batches, nothing is committed
    INTAKE_GROWN = "intake-grown"  # committed, and nobody reads the following ones
    INTAKE_ENDED = "intake-ended"  # all images are read, and the hint to end the run is lost
    RECONCILED = "reconciled"  # the reconciler has marked hints as sent and has not sent them


@dataclass
class ArmedPoint:
    """An armed point: the process dies at visit number ``fatal_visit``; ``visits`` counts them."""

    fatal_visit: int
    once: Path | None
    visits: int = 0

    def visit(self, point: CrashPoint) -> None:
        """Kill this process at ``point`` if it is the right visit, and with `once` the first process."""
        self.visits += 1
        if self.visits >= self.fatal_visit and self._is_first(point):
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_first(self, point: CrashPoint) -> bool:
        if self.once is None:
            return True
        self.once.mkdir(parents=True, exist_ok=True)
        try:
            # Exclusive: only one of all processes creates the file.
            with (self.once / point).open("x") as file:
                file.write(f"{os.getpid()} {time.time()}")
        except FileExistsError:
            return False
        return True


def arm(environment: Mapping[str, str]) -> dict[CrashPoint, ArmedPoint]:
    """Return the points that ``environment`` asks for; usually none.

    Raises:
        ParameterError: ANNEALQ_CRASH_AT has an unknown point, or is not of the form ``name`` or ``name:3``.
    """
    points, folder = environment.get("ANNEALQ_CRASH_AT", ""), environment.get("ANNEALQ_CRASH_ONCE")
    once = Path(folder) if folder else None
    return dict(_parse(part.strip(), once) for part in points.split(",") if part.strip())


def reach(point: CrashPoint) -> None:
    """Mark that this process has reached ``point``, and kill it if the point is armed."""
    if _armed and (armed := _armed.get(point)) is not None:
        armed.visit(point)


def _parse(text: str, once: Path | None) -> tuple[CrashPoint, ArmedPoint]:
    name, _, visit = text.partition(":")
    if name not in set(CrashPoint) or not (visit or "1").isdecimal() or int(visit or "1") < 1:
        raise ParameterError(
            f"ANNEALQ_CRASH_AT: {text!r:.80} is not a crash point: use NAME or NAME:COUNT, with one of "
            + ", ".join(CrashPoint)
        )
    return CrashPoint(name), ArmedPoint(int(visit or "1"), once)


_armed = arm(os.environ)
