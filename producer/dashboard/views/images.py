"""Images of a run: a grid with filters, and one image with its scores and the energies of its reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session
from starlette.responses import Response

from producer.dashboard.charts import visible_values
from producer.dashboard.report import run_facts, run_values
from producer.dashboard.views.energies import EnergyCharts, svg
from producer.dashboard.views.run_parts import RunCaches
from producer.dashboard.web.asked import AGAIN_S
from producer.dashboard.web.visit import Visit
from producer.runs import queries, results
from schema.errors import AnnealqError, NotFound
from schema.tables import Classification

_PAGE = 60  # images
_DIGITS = 9  # of a number of classes that a visitor may give
_NONE = "none"  # as a class: undecided
_SHOWN = ("wrong", "right", "undecided")
_ORDERS = ("number", "certainty")


@dataclass(frozen=True)
class ImageFilter:
    """Which images of a run a visitor looks for, as fields of the address; empty ones choose nothing.

    Attributes:
        show: wrong, right or undecided ones.
        label, predicted: numbers of classes; "none" for undecided ones.
        below: only images of a lower probability, or margin in runs of earlier versions.
        above: only images with a larger set of classes.
        order: by number, or the least certain first.
    """

    show: str
    label: str
    predicted: str
    below: str
    above: str
    order: str

    @classmethod
    def of(cls, visit: Visit, classes: int) -> ImageFilter:
        """Return the filter in the address of ``visit``; values that do not exist are left out."""
        fields = {field: visit.asked(field) for field in cls.__annotations__}
        numbers = [str(number) for number in range(classes)]
        known: dict[str, Any] = {
            "show": _SHOWN,
            "label": numbers,
            "predicted": [*numbers, _NONE],
            "order": _ORDERS,
        }
        fields |= {field: "" for field, values in known.items() if fields[field] not in values}
        if _share(fields["below"]) is None:
            fields["below"] = ""
        if not fields["above"].isdecimal() or len(fields["above"]) > _DIGITS:
            fields["above"] = ""
        return cls(**fields)

    @property
    def query(self) -> str:
        """Return the filter as the query of an address."""
        return urlencode({name: value for name, value in vars(self).items() if value})

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the conditions that images have to meet."""
        c = Classification
        found: list[ColumnElement[bool]] = []
        if self.show == "wrong":
            found.append(and_(c.label.is_not(None), or_(c.predicted.is_(None), c.predicted != c.label)))
        elif self.show == "right":
            found.append(c.predicted == c.label)
        elif self.show == "undecided":
            found.append(c.predicted.is_(None))
        if self.label:
            found.append(c.label == int(self.label))
        if self.predicted:
            found.append(
                c.predicted.is_(None) if self.predicted == _NONE else c.predicted == int(self.predicted)
            )
        if (below := _share(self.below)) is not None:
            found.append(_certainty() < below)
        if self.above:
            found.append(c.set_size > int(self.above))
        return found


class ImagePages:
    """The images of runs; ``caches`` are shared with other pages, and ``charts`` have their energies."""

    def __init__(self, caches: RunCaches, charts: EnergyCharts) -> None:
        self._caches, self._charts = caches, charts

    def grid(self, visit: Visit) -> Response:
        """Show the images of a run that the visitor of ``visit`` looks for."""
        number = visit.number("run")
        with visit.database.reading() as session:
            run, names = queries.run(session, number), queries.classes(session, number)
            wanted = ImageFilter.of(visit, len(names))
            found = _page(session, number, wanted, visit.asked_number("after"))
            more, shown = len(found) > _PAGE, found[:_PAGE]
            images = self._values(session, number, shown, names)
            known = run_facts.content_of(session, number)
            counts = self._caches.aggregates.read(session, run, known, len(names)).counts
        here = f"{visit.root}/runs/{number}"
        following = f"{wanted.query}&after={shown[-1].image}" if more else None
        return visit.render(
            "images.html.j2",
            title=f"Images of run {number}",
            run=run,
            here=here,
            classes=list(enumerate(names)),
            wanted=wanted,
            counts=counts,
            images=images,
            following=following,
            is_first=visit.asked_number("after") is None,
        )

    def show(self, visit: Visit) -> Response:
        """Show the image of ``visit``, its scores and the energies of its reads."""
        number, image = visit.number("run"), visit.number("image")
        with visit.database.reading() as session:
            run, names = queries.run(session, number), queries.classes(session, number)
            wanted = ImageFilter.of(visit, len(names))
            result = _classified(session, number, image)
            values = self._values(session, number, [result], names, best=None)[0]
            following = _page(session, number, wanted, image, limit=1)
        here = f"{visit.root}/runs/{number}"
        energies = self._charts.find(visit.database, number, image)
        return visit.render(
            "image.html.j2",
            title=f"Image {image} of run {number}",
            run=run,
            image=values,
            about=_about(result, values["set"], run),
            probabilities=_probabilities(number, result, names),
            here=here,
            query=wanted.query,
            following=following[0].image if following else None,
            energies=energies,
            visible=None if energies.visible is None else visible_values.chart(energies.visible),
            again_s=AGAIN_S,
        )

    def energies(self, visit: Visit) -> Response:
        """Send the energy histogram of the image of ``visit``; 202 until a worker has computed it."""
        number, image = visit.number("run"), visit.number("image")
        with visit.database.reading() as session:
            result = _classified(session, number, image)
            names = queries.classes(session, number)
        state = self._charts.find(visit.database, number, image)
        if state.error is not None:
            raise AnnealqError(state.error)
        if state.histogram is None:
            return Response(state.text, 202, {"Retry-After": str(AGAIN_S)}, "text/plain")
        headers = {"Cache-Control": "private, max-age=3600"}
        return Response(svg(state.histogram, result.predicted, names), 200, headers, "image/svg+xml")

    def _values(
        self,
        session: Session,
        run: int,
        images: list[queries.Classified],
        names: tuple[str, ...],
        best: int | None = run_values.BEST_CLASSES,
    ) -> list[dict[str, Any]]:
        drawn = self._caches.pictures.read(session, run, [result.image for result in images])
        scores = run_facts.scores_of(run, images, len(names))
        return [
            run_values.image_values(result, row, drawn[result.image], names, best)
            for result, row in zip(images, scores, strict=True)
        ]


def _page(
    session: Session, run: int, wanted: ImageFilter, after: int | None, limit: int = _PAGE + 1
) -> list[queries.Classified]:
    """Return up to ``limit`` images of ``run`` that are ``wanted``, and come after the image ``after``."""
    c = Classification
    numbers = select(c.image).where(c.run_id == run, *wanted.conditions())
    if wanted.order != "certainty":
        numbers = numbers.order_by(c.image)
        if after is not None:
            numbers = numbers.where(c.image > after)
    else:
        numbers = numbers.order_by(_certainty(), c.image)
        if after is not None:
            value = select(_certainty()).where(c.run_id == run, c.image == after).scalar_subquery()
            later = and_(_certainty() == value, c.image > after)
            numbers = numbers.where(or_(_certainty() > value, later))
    chosen = session.execute(numbers.limit(limit)).scalars().all()
    rows = session.execute(select(*queries.CLASSIFIED).where(c.run_id == run, c.image.in_(chosen)))
    found = {row.image: queries.Classified(*row) for row in rows}
    return [found[image] for image in chosen]


def _certainty() -> ColumnElement[float]:
    return func.coalesce(Classification.probability, Classification.margin)


def _share(text: str) -> float | None:
    """Return the share from 0 to 1 that ``text`` is, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0.0 <= value <= 1.0 else None


def _about(result: queries.Classified, held: str, run: queries.RunSummary) -> list[tuple[str, str]]:
    rows = []
    if held:
        found = (run.statistics or {}).get("guarantee") or {}
        void = f"; void: {found['voided']}" if found.get("voided") else ""
        rows.append((f"set of classes, confidence {run.parameters.get('confidence')}", f"{held}{void}"))
    if result.probability is not None:
        rows.append(("probability", f"{result.probability:.4f}"))
    if result.energy_gap is not None:
        rows.append(("energy gap", f"{result.energy_gap:.4f}"))
    rows += [
        ("margin", f"{result.margin:.4f}"),
        ("reads with one class", f"{result.one_hot_fraction:.1%}"),
        ("lowest energy", f"{result.lowest_energy:.4f}"),
    ]
    if result.chain_break_fraction is not None:
        rows.append(("broken chains", f"{result.chain_break_fraction:.2%}"))
    return rows


def _probabilities(run: int, result: queries.Classified, names: tuple[str, ...]) -> list[tuple[str, float]]:
    """Return each class of ``names`` with its probability in percent; empty in runs of earlier versions."""
    shares = results.probabilities_of(run, result, len(names))
    return [] if shares is None else [(name, 100.0 * float(p)) for name, p in zip(names, shares, strict=True)]


def _classified(session: Session, run: int, image: int) -> queries.Classified:
    c = Classification
    row = session.execute(select(*queries.CLASSIFIED).where(c.run_id == run, c.image == image)).first()
    if row is None:
        queries.run(session, run)  # raises NotFound if it is the run that does not exist
        raise NotFound(f"run {run} has no image {image} that is scored")
    return queries.Classified(*row)
