"""What is promised for a run that has a target: a setting, its accuracy, QPU time and finishing time.

A promise is stored with its run; `producer.runs.summary.outcome` says whether the run kept it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from producer.forecasts import offers
from producer.forecasts.accuracy import CONFIDENCE
from producer.forecasts.target import Estimate, Job, choose, estimate, pareto_front
from producer.networks.chosen import ChosenNetwork
from producer.runs.request import RunRequest, read_prices
from schema.errors import ParameterError
from schema.parameters import Parameters
from schema.tables import Run


@dataclass(frozen=True)
class Promise:
    """The setting that was chosen for a target, and what is promised of it.

    Attributes:
        parameters: those of the run.
        calibration: id of the calibration that has measured them.
        stored: the promise as the run's row stores it; see `schema.tables.Run`.
    """

    parameters: Parameters
    calibration: int
    stored: dict[str, Any]


def make_promise(
    session: Session, request: RunRequest, network: ChosenNetwork, images: int, waits_s: float, now: datetime
) -> Promise:
    """Return what is promised of a run of ``images`` that ``request`` asks for ``now``, by ``session``.

    Its solver is busy with other runs for ``waits_s`` seconds before.

    Raises:
        ParameterError: no calibration has measured the network there, or the target cannot be promised.
    """
    if request.target is None:
        raise ParameterError("the request has no target")
    known = offers.read_offers(session, network.id, request.solver, request.given, images)
    if not known:
        asked = sorted(offers.compared(request.given))
        like = f" with the given {', '.join(asked)}" if asked else ""
        raise ParameterError(
            f"nothing is known about {network.name} on {request.solver}{like}: a target needs a calibration, "
            f"`annealq networks calibrate {network.name} --solver {request.solver} --data DATA`"
        )
    options = request.options(now)
    prices = read_prices(request.prices)
    job = Job(images, now, options.hours, waits_s, request.budget_us, prices or None)
    front = pareto_front(estimate(known, job))
    chosen = choose(front, job, request.target)
    parameters = Parameters.from_dict({**chosen.offer.parameters.to_dict(), **request.given})
    return Promise(parameters, chosen.offer.calibration, _stored(request, len(known), front, chosen))


def promise_of(session: Session, key: str) -> Promise | None:
    """Return what was promised of the run under the idempotency ``key``, by ``session``; None: nothing."""
    row = session.execute(
        select(Run.parameters, Run.calibrated_by, Run.promise).where(Run.idempotency_key == key)
    ).first()
    if row is None or row.promise is None or row.calibrated_by is None:
        return None
    return Promise(Parameters.from_dict(row.parameters), row.calibrated_by, row.promise)


def _stored(
    request: RunRequest, compared: int, front: Sequence[Estimate], chosen: Estimate
) -> dict[str, Any]:
    return {
        "target": request.target,
        "confidence": CONFIDENCE,
        "compared": compared,
        "budget_us": request.budget_us,
        "deadline": request.deadline,
        **_row(chosen),
        "front": [{**_row(one), "chosen": one is chosen} for one in front],
    }


def _row(one: Estimate) -> dict[str, Any]:
    offer, parameters = one.offer, one.offer.parameters
    return {
        "accuracy": round(offer.accuracy, 6),
        "least_accuracy": round(one.least, 6),
        "validation_images": offer.validated,
        "qpu_us": round(one.qpu_us, 1),
        "most_qpu_us": round(one.most_us, 1),
        "price": None if one.price is None else round(one.price, 6),
        "finishes_at": None if one.finishes_at is None else one.finishes_at.isoformat(),
        "calibration": offer.calibration,
        "qpu": offer.qpu,
        "visible": str(parameters.visible),
        "rounds": [[each.reads, each.share] for each in offer.rounds],
        "rule": str(parameters.rule),
        "unembedding": str(parameters.unembedding),
        "chain_strength": parameters.chain_strength,
        "scale": parameters.scale,
        "lam": parameters.lam,
    }
