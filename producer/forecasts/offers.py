"""Reads what calibrations have measured: the accuracy and the QPU time of each setting of a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from producer.calibration.reads import bounded_rounds
from schema.parameters import Parameters, Solver, fields_of, scope
from schema.states import CalibrationState
from schema.tables import Calibration, Chip

# What the settings of one calibration differ in, and what their common reads become.
_SETTINGS = ("visible", "lam", "sweeps", "chain_strength", "scale")
_CHOSEN = ("reads", "rule", "fraction", "beta", "unembedding")


@dataclass(frozen=True)
class PlannedRound:
    """One round of reads.

    Attributes:
        reads: of each image.
        share: of a run's images that are expected to take part.
        most: the largest share that may take part.
    """

    reads: int
    share: float = 1.0
    most: float = 1.0


@dataclass(frozen=True)
class Offer:
    """A setting that a calibration has measured, and what it costs.

    Attributes:
        calibration: its id.
        qpu: name of the QPU; None for a solver without qubits.
        parameters: of a run with this setting.
        right, validated: images of the validation set that it has right, and all of them.
        rounds: its rounds of reads, the first one for all images.
        tiles: images in a full problem.
        fixed_us, read_us: QPU time of a problem apart from its reads, and of a read, in microseconds.
    """

    calibration: int
    qpu: str | None
    parameters: Parameters
    right: int
    validated: int
    rounds: tuple[PlannedRound, ...]
    tiles: int
    fixed_us: float
    read_us: float

    @property
    def accuracy(self) -> float:
        """Return its accuracy on the validation set."""
        return self.right / self.validated

    @property
    def work(self) -> float:
        """Return how much an image is read, in sweeps: the cost where no QPU time is charged."""
        reads = sum(each.share * each.reads for each in self.rounds)
        return reads * (self.parameters.sweeps or 1)

    def qpu_us(self, images: int) -> float:
        """Return the expected QPU time of a run of ``images``, in whole problems, microseconds."""
        return self._qpu_us(images, [each.share for each in self.rounds])

    def most_us(self, images: int) -> float:
        """Return the QPU time of a run of ``images`` if as many as may be are read again, microseconds."""
        return self._qpu_us(images, [each.most for each in self.rounds])

    def _qpu_us(self, images: int, shares: Sequence[float]) -> float:
        return sum(
            -(-images * share // self.tiles) * (self.fixed_us + each.reads * self.read_us)
            for each, share in zip(self.rounds, shares, strict=True)
        )


def read_offers(
    session: Session, network: int, solver: Solver, asked: Mapping[str, Any], images: int
) -> list[Offer]:
    """Read from ``session`` what is known about a run of ``images`` on the chips that ``solver`` has now.

    The newest calibration for a chip and a treatment of visible units counts. An offer has the values that
    were ``asked`` for, by name.
    """
    chips = select(Chip.graph_id, Chip.name).where(Chip.solver == solver).order_by(Chip.seen_at)
    latest = {name: graph for graph, name in session.execute(chips)}
    names = {graph: name for name, graph in latest.items()}
    query = select(Calibration).where(
        Calibration.network_id == network,
        Calibration.solver == solver,
        Calibration.state == CalibrationState.READY,
    )
    if solver.is_remote:
        query = query.where(Calibration.graph_id.in_(names))
    offers: list[Offer] = []
    known: set[tuple[str, str]] = set()
    for row in session.execute(query.order_by(Calibration.id.desc())).scalars():
        found = [one for one in offers_of(row, names.get(row.graph_id), images) if _is_asked(one, asked)]
        treated = {(row.graph_id, str(one.parameters.visible)) for one in found}
        offers += [one for one in found if (row.graph_id, str(one.parameters.visible)) not in known]
        known |= treated
    return offers


def compared(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return those values of ``asked`` that a calibration may choose."""
    fields = fields_of(Parameters)
    return {name: value for name, value in asked.items() if scope(fields[name]).calibrated}


def _is_asked(offer: Offer, asked: Mapping[str, Any]) -> bool:
    wanted = Parameters.from_dict(asked)
    return all(getattr(offer.parameters, name) == getattr(wanted, name) for name in compared(asked))


def offers_of(row: Calibration, qpu: str | None, images: int) -> Iterator[Offer]:
    """Yield the offers of the calibration ``row``: its settings, each with each choice about its reads.

    Args:
        qpu: name of its chip; None: its solver has no qubits.
        images: of the run. Rounds of reads have the same bounds as with `calibration.reads.choose_reads`.
    """
    measured = row.measured or {}
    if row.parameters is None or "choices" not in measured or "right" not in measured:
        return  # by an earlier version
    common = {name: row.parameters[name] for name in ("tiles",) if name in row.parameters}
    if qpu is not None:
        common["qpu"] = qpu
    for candidate, counts in zip(measured["candidates"], measured["right"], strict=True):
        if "read_us" not in candidate:
            continue
        setting = {**common, **_given(candidate, _SETTINGS)}
        costs = (candidate["tiles"], candidate["fixed_us"], candidate["read_us"])
        for choice, right in zip(measured["choices"], counts, strict=True):
            chosen = _given(choice, _CHOSEN if qpu is not None else _CHOSEN[:-1])
            parameters = Parameters.from_dict({**setting, **chosen})
            rounds = (PlannedRound(parameters.reads),)
            yield Offer(row.id, qpu, parameters, right, row.images, rounds, *costs)
    yield from _plans(row, measured.get("plans"), qpu, images)


def _plans(
    row: Calibration, plans: Mapping[str, Any] | None, qpu: str | None, images: int
) -> Iterator[Offer]:
    """Yield the offers of a calibration with several rounds of reads, with its chosen setting."""
    if plans is None:
        return
    base = {**(row.parameters or {}), **({} if qpu is None else {"qpu": qpu})}
    costs = (plans["tiles"], plans["fixed_us"], plans["read_us"])
    for index, plan in enumerate(plans["listed"]):
        bounded = bounded_rounds(plans, index, images, base.get("tiles"))
        if not bounded:
            continue  # a fixed number is among the choices
        parameters = replace(Parameters.from_dict({**base, "reads": plan["reads"]}), rounds=bounded)
        later = zip(bounded, plan["shares"], strict=True)
        rounds = (
            PlannedRound(plan["reads"]),
            *(PlannedRound(each.reads, share, each.share) for each, share in later),
        )
        yield Offer(row.id, qpu, parameters, plan["right"], plans["images"], rounds, *costs)


def _given(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: values[name] for name in names if values.get(name) is not None}
