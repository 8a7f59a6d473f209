"""How certain the classes of a run are: what ranks its images, and how reliable its probabilities are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, case, func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from schema.network import temperature
from schema.network.reliability import BINS
from schema.quantities import count_text
from schema.tables import Calibration, Classification, Network, Run

CLASSICAL = "of the network itself, computed without reads"  # probabilities, wherever they are shown
_SATURATED = 0.99  # share of margins that are 1, above which margins tell nothing
FULL_MARGIN = 1.0 - 1e-9  # margins are differences of quotients: 1 up to rounding


@dataclass(frozen=True)
class Certainty:
    """What ranks the images of a run by certainty.

    Attributes:
        images: classified ones.
        probabilities: of them with a probability.
        full_margins: of them with a margin of 1.
        temperature: of the probabilities, for display.
        error: expected calibration error in [0, 1]; None without labels, or until the run ends.
        likelihood, brier: negative log-likelihood and Brier score of the probabilities of all classes; None
            as above, or in runs of earlier versions.
        classes: balanced accuracy and AUC, as in the statistics of a run; None if classes are balanced, or as
            above.
    """

    run: int
    images: int
    probabilities: int
    full_margins: int
    temperature: str
    error: float | None
    likelihood: float | None = None
    brier: float | None = None
    classes: Mapping[str, Any] | None = None

    @property
    def ranking(self) -> str:
        """Return what ranks the images, for display."""
        if self.probabilities:
            return f"probability ({CLASSICAL}; {self.temperature}), then energy gap"
        return (
            f"margin: an earlier version scored this run; `annealq runs rescore {self.run}` computes "
            "probabilities"
        )

    @property
    def saturation(self) -> str | None:
        """Return a sentence on margins that do not tell images apart; None if they do."""
        if self.full_margins <= _SATURATED * self.images:
            return None
        return (
            f"{self.full_margins:,} of {self.images:,} margins are 1: the chosen reads agree, and margins do "
            "not tell certain images from uncertain ones"
        )

    @property
    def calibration(self) -> str | None:
        """Return the expected calibration error, for display; None if there is none."""
        if self.error is None:
            return None
        return f"{self.error:.2%}, expected calibration error in {BINS} bins of equal width"

    @property
    def losses(self) -> str | None:
        """Return the losses of the probabilities of all classes, for display; None if there are none."""
        if self.likelihood is None or self.brier is None:
            return None
        return (
            f"negative log-likelihood {self.likelihood:.4f}, Brier score {self.brier:.4f}; probabilities "
            f"{CLASSICAL}"
        )

    @property
    def balance(self) -> str | None:
        """Return the figures of unbalanced classes, for display; None if they are balanced."""
        if self.classes is None:
            return None
        area, images = self.classes["auc"], self.classes["auc_images"]
        of_area = (
            f", AUC {area:.4f} of {count_text(images, 'image')}, {CLASSICAL}" if area is not None else ""
        )
        return f"balanced accuracy {self.classes['balanced_accuracy']:.2%}{of_area}"


def read(session: Session, run: int, statistics: dict[str, Any] | None) -> Certainty:
    """Return what ranks the images of ``run``, with these ``statistics``, in ``session``."""
    c = Classification
    counts = select(func.count(), func.count(c.probability), func.count(case((c.margin >= FULL_MARGIN, 1))))
    images, probabilities, full = session.execute(counts.where(c.run_id == run)).one()
    return describe(session, run, statistics, images, probabilities, full)


def describe(
    session: Session,
    run: int,
    statistics: dict[str, Any] | None,
    images: int,
    probabilities: int,
    full_margins: int,
) -> Certainty:
    """Do as `read` with known numbers of ``images``, ``probabilities`` and ``full_margins``."""
    fitted = select(Network.metrics, Calibration.id, Calibration.measured["temperature"].label("temperature"))
    fitted = fitted.join(Run, Run.network_id == Network.id).where(Run.id == run)
    row = session.execute(fitted.outerjoin(Calibration, Calibration.id == Run.calibrated_by)).first()
    source = "" if row is None else _temperature(row)
    names = ("calibration_error", "negative_log_likelihood", "brier_score", "class_balance")
    figures = [(statistics or {}).get(name) for name in names]
    return Certainty(run, images, probabilities, full_margins, source, *figures)


def _temperature(row: Row[Any]) -> str:
    """Return which temperature a run's probabilities use: that of its calibration, or of its network."""
    if row.temperature is None:
        return temperature.describe(row.metrics)
    return f"{temperature.describe({'temperature': row.temperature})} of calibration {row.id}"


def least_certain_first() -> tuple[ColumnElement[Any] | InstrumentedAttribute[Any], ...]:
    """Return the order of classifications: wrong ones first, then by probability, energy gap and margin.

    Rows of earlier versions have no probability: their margin takes its place.
    """
    c = Classification
    order: tuple[ColumnElement[Any] | InstrumentedAttribute[Any], ...] = (
        case((c.predicted != c.label, 0), else_=1),
        func.coalesce(c.probability, c.margin),
        c.energy_gap.is_(None),
        c.energy_gap,
        c.margin,
        c.image,
    )
    return order


def guarantee_rows(statistics: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return names and values of the guarantee in the ``statistics`` of a run; empty without a confidence."""
    found = (statistics or {}).get("guarantee")
    if not found or not found["set_sizes"]:
        return []
    sizes = [f"{images:,} of {count_text(int(size), 'class')}" for size, images in found["set_sizes"].items()]
    of = "in each class, " if found["by_class"] else ""
    images = count_text(found["images"], "image")
    rows = [
        ("confidence", f"{found['confidence']:.6g}, {of}by calibration {found['calibration']}, {images}"),
        ("sets", f"mean size {found['mean_set_size']:.3f}: {', '.join(sizes)}"),
    ]
    if found["coverage"] is not None:
        low, high = found["coverage_interval"]
        rows.append(
            (
                "coverage",
                f"{found['coverage']:.2%} of {count_text(found['labelled'], 'labelled image')} "
                f"(95 % interval {low:.2%} to {high:.2%})",
            )
        )
    rows.append(("guarantee", f"void: {found['voided']}" if found["voided"] else "nothing speaks against it"))
    return rows
