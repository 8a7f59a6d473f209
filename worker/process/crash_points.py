"""Named crash points: the instants at which a kill is most dangerous, so that tests can die exactly there.

    ANNEALQ_CRASH_AT=sending          kill -9 of the process that comes there
    ANNEALQ_CRASH_AT=claimed,sent:3   at several points; at `sent` the third time that one process comes there
    ANNEALQ_CRASH_ONCE=FOLDER         each point kills one process only, whoever comes first

Without ANNEALQ_CRASH_AT a point costs one look at an empty dict.
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
    """Where, and what is at stake."""

    CLAIMED = "claimed"  # a batch is leased by a process that is dead
    RESERVING = "reserving"  # nothing is written of what was about to be sent
    RESERVED = "reserved"  # intents without anybody who follows them
    SENDING = "sending"  # written down as perhaps sent, and not sent: must not be lost
    HALF_POSTED = "half-posted"  # some of a group have perhaps left, others have not
    POSTED = "posted"  # on its way, nobody knows the id: must not be paid twice
    ACCEPTED = "accepted"  # the id was known to the dead process alone
    ID_KEPT = "id-kept"  # the id is written down, the answer is not fetched
    ANSWERED = "answered"  # the answer, paid for, was known to the dead process alone
    ANSWER_KEPT = "answer-kept"  # stored, and the batch does not know that it is complete
    HALF_KEPT = "half-kept"  # some problems of a batch are stored, others are still with the solver
    SAMPLING_ENDED = "sampling-ended"  # every answer is stored, the batch is not marked sampled
    SAMPLED = "sampled"  # marked, and the hint to score it is lost
    SCORING = "scoring"  # scores were computed and not stored
    COUNTING = "counting"  # scores are written, the run's count is not, nothing is committed
    SCORED = "scored"  # committed, and the hint to end the run is lost
    AGGREGATING = "aggregating"  # the run was taken to its end by a process that is dead
    AGGREGATED = "aggregated"  # finished; what waits for the run is not told
    TRAINING = "training"  # between two epochs: weights are in the dead process only
    SEARCHING = "searching"  # an embedding was found and not stored; others wait for it
    RECONCILED = "reconciled"  # the reconciler has marked hints as sent and has not sent them


@dataclass
class Trap:
    """One armed point. visits: how often this process has come there; it dies at visit ``at``."""

    at: int
    once: Path | None
    visits: int = 0

    def spring(self, point: CrashPoint) -> None:
        """Die, if it is time and nobody has died here before."""
        self.visits += 1
        if self.visits >= self.at and self._is_first(point):
            os.kill(os.getpid(), signal.SIGKILL)

    def _is_first(self, point: CrashPoint) -> bool:
        if self.once is None:
            return True
        self.once.mkdir(parents=True, exist_ok=True)
        try:
            # Exclusive: of all processes that come here one makes the file.
            with (self.once / point).open("x") as file:
                file.write(f"{os.getpid()} {time.time()}")
        except FileExistsError:
            return False
        return True


def arm(environment: Mapping[str, str]) -> dict[CrashPoint, Trap]:
    """The traps that an environment asks for; none, as a rule.

    Raises:
        ParameterError: ANNEALQ_CRASH_AT names no such point, or is not written ``name`` or ``name:3``.
    """
    wanted, folder = environment.get("ANNEALQ_CRASH_AT", ""), environment.get("ANNEALQ_CRASH_ONCE")
    once = Path(folder) if folder else None
    return dict(_trap(part.strip(), once) for part in wanted.split(",") if part.strip())


def reach(point: CrashPoint) -> None:
    """Say that this instant has come; the process ends here if it was told to."""
    if _traps and (trap := _traps.get(point)) is not None:
        trap.spring(point)


def _trap(text: str, once: Path | None) -> tuple[CrashPoint, Trap]:
    name, _, visit = text.partition(":")
    if name not in set(CrashPoint) or not (visit or "1").isdecimal() or int(visit or "1") < 1:
        raise ParameterError(
            f"ANNEALQ_CRASH_AT: {text!r:.80} is no crash point, NAME or NAME:COUNT; there are: "
            + ", ".join(CrashPoint)
        )
    return CrashPoint(name), Trap(int(visit or "1"), once)


_traps = arm(os.environ)
