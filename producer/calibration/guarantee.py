"""Whether a calibration can give the sets of classes of a run: one with exactly the settings of its reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from producer.calibration.choice import CalibrationChoice, own_lams
from producer.calibration.reads import SetReads
from schema.codecs import nonconformity
from schema.codecs.corruption import stored_in
from schema.errors import ParameterError
from schema.network.architecture import Architecture
from schema.parameters import Parameters, Solver, Visible, fields_of, words
from schema.tables import Network

# Parameters that do not decide what reads are like, or that sets of classes do not depend on.
_FREE = ("seed", "rule", "fraction", "beta", "qpu", "tiles", "confidence", "by_class", "reads", "rounds")
_RULE = ("rule", "fraction", "beta")
_DEFAULTS = {"chain_strength": 1.414, "scale": 1.0}  # of None


def refuse_without_guarantee(
    session: Session,
    network: int,
    solver: Solver,
    parameters: Parameters,
    calibration: CalibrationChoice | None,
) -> None:
    """Raise ParameterError if a run with a confidence cannot have it by ``calibration``.

    Args:
        network, solver, parameters: those of the run.
        calibration: that its parameters come from; None: there is none, or none was wanted.
    """
    if parameters.confidence is None:
        return
    row = session.execute(select(Network.name, Network.version, Network.classes).where(Network.id == network))
    name, version, classes = row.one()
    remedy = f"`annealq networks calibrate {name}@{version} --data DATA --solver {solver}`"
    if calibration is None:
        raise ParameterError(
            f"confidence {parameters.confidence:g} needs a calibration of {name}@{version} for solver "
            f"{solver}: {remedy}, and leave out --no-calibration"
        )
    if calibration.nonconformity is None:
        raise ParameterError(
            f"calibration {calibration.id} is of an earlier version, and does not say how classes conform to "
            f"reads: calibrate again, {remedy}"
        )
    with stored_in(f"calibration {calibration.id}", "calibrate again"):
        known = nonconformity.decode(calibration.nonconformity)
    other = differences(parameters, calibration.parameters, known, own_lams(session, network))
    if other:
        raise ParameterError(
            f"confidence {parameters.confidence:g} needs a calibration with the settings of the run, and "
            f"calibration {calibration.id} has other ones: {'; '.join(other)}: leave these out, or calibrate "
            f"with them, {remedy}"
        )
    _refuse_few(known, parameters, classes, remedy)


def reads_for_sets(
    session: Session,
    network: int,
    parameters: Parameters,
    calibration: CalibrationChoice | None,
    *,
    has_budget: bool,
) -> SetReads | None:
    """Return how images with sets of several classes are read again in a run with ``parameters``.

    None: it has no confidence, no reads change its sets, or its ``calibration`` has no scores of their reads.

    Raises:
        Corrupt: the nonconformity of the calibration is damaged.
    """
    if parameters.confidence is None or calibration is None or calibration.nonconformity is None:
        return None
    architecture = session.execute(select(Network.architecture).where(Network.id == network)).scalar_one()
    if Architecture.from_dict(architecture).has_class_units_only(parameters.visible):
        return None
    with stored_in(f"calibration {calibration.id}", "calibrate again"):
        known = nonconformity.decode(calibration.nonconformity).outcomes
    return SetReads(max(known), has_budget) if known else None


def differences(
    parameters: Parameters,
    calibrated: Mapping[str, Any],
    known: nonconformity.Nonconformity,
    own_lams: Mapping[Visible, float | None],
) -> list[str]:
    """Return each setting of reads in ``parameters`` that is not that of a calibration, as text.

    Args:
        calibrated: parameters of the calibration, as its row stores them.
        known: its nonconformity.
        own_lams: the network's one-hot penalty by visible units; a penalty of None is that.
    """
    run = parameters.to_dict()
    defaults = {name: field.default for name, field in fields_of(Parameters).items()} | _DEFAULTS
    defaults["lam"] = own_lams.get(parameters.visible)
    found = []
    # The class that the rule chooses, and so the energy gap, decides which images are read again.
    free = set(_FREE) - (set(_RULE) if parameters.rounds else set())
    for name in defaults:
        if name in free:
            continue
        mine, theirs = (
            defaults[name] if each.get(name) is None else each[name] for each in (run, calibrated)
        )
        if _plain(mine) != _plain(theirs):
            found.append(f"{words(name)} {_text(mine)}, calibrated {_text(theirs)}")
    if not known.has(run):
        found.append(f"reads and rounds {nonconformity.plan_name(run)}, calibrated {known.reads_text}")
    return found


def _refuse_few(
    known: nonconformity.Nonconformity, parameters: Parameters, classes: list[str], remedy: str
) -> None:
    confidence = parameters.confidence or 0.0
    least = nonconformity.least_images(confidence)
    counts = {"": len(known.labels)}
    if parameters.by_class:
        numbers = np.bincount(known.labels, minlength=len(classes)).tolist()
        counts = {f" of class {name}": n for name, n in zip(classes, numbers, strict=True)}
    which, images = min(counts.items(), key=lambda each: each[1])
    if images < least:
        raise ParameterError(
            f"confidence {confidence:g} needs {least:,} validation images{which} or more, and the "
            f"calibration has {images:,}: calibrate with more, {remedy}, or choose a lower confidence"
        )


def _plain(value: Any) -> Any:
    """Return ``value`` so that equal settings are equal: lists as tuples, numbers without rounding errors."""
    if isinstance(value, list | tuple):
        return tuple(_plain(each) for each in value)
    return float(f"{value:.9g}") if isinstance(value, int | float) else value


def _text(value: Any) -> str:
    return "default" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
