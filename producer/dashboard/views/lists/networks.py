"""Networks with their accuracies, and the calibrations of each."""

from __future__ import annotations

import json
from collections.abc import Sequence

from starlette.responses import Response

from producer.calibration import queries as calibrations
from producer.calibration.queries import CalibrationSummary
from producer.dashboard.web.tables import Button, Cell, Mark, PageTable
from producer.dashboard.web.visit import Visit
from producer.networks import naming, queries
from producer.networks.queries import NetworkSources, NetworkSummary
from producer.reports.calibration import state_text
from schema.errors import ParameterError
from schema.quantities import count_text


def show(visit: Visit) -> Response:
    """Show all networks and calibrations for ``visit``."""
    with visit.database.reading() as session:
        networks = queries.networks(session)
        fitted = calibrations.list_calibrations(session)
    is_admin = visit.visitor.is_admin
    columns = ("network", "state", "images", "classes", "origin", "held-out accuracy", "default", "created")
    listings = [
        PageTable(
            title="",
            caption="newest first",
            columns=(*columns, "") if is_admin else columns,
            rows=[[*_network(one), *([_button(one)] if is_admin else [])] for one in networks],
            empty="No network yet: annealq networks train, or the first run installs a shipped one.",
        ),
        PageTable(
            title="Calibrations",
            caption="parameters fitted on labelled images, newest first",
            columns=("id", "network", "solver", "state", "images", "accuracy", "parameters", "finished"),
            rows=[_calibration(each) for each in fitted],
            empty="No calibration yet: annealq networks calibrate NETWORK DATA.",
        ),
    ]
    sources = [(one, one.sources) for one in networks if one.sources is not None]
    if sources:
        listings.insert(1, _sources(sources))
    return visit.render(
        "listings.html.j2", title="Networks", text=None, older=None, parts=None, listings=listings
    )


def _sources(networks: Sequence[tuple[NetworkSummary, NetworkSources]]) -> PageTable:
    """Return the table of what each source of ``networks`` adds."""
    rows: list[list[Cell]] = []
    for network, known in networks:
        images = (
            ""
            if known.images is None
            else f"{known.images:,} {'held out' if known.held_out else 'trained on'}"
        )
        for source in known.sources:
            shares = (known.accuracy, source.without, source.alone)
            texts = ["" if share is None else f"{share:.2%}" for share in shares]
            rows.append([network.pinned, source.name, source.visible, *texts, images])
    return PageTable(
        title="Sources",
        caption="the network's own accuracy, by the sources it has",
        columns=("network", "source", "visible units", "with all", "without it", "it alone", "images"),
        rows=rows,
        empty="",
    )


def choose(visit: Visit) -> Response:
    """Make the network in the form of ``visit`` the default of its size, or no longer."""
    visit.check_may_act(admin=True)
    name = str(visit.form.get("network", ""))
    if not name:
        raise ParameterError("no network was named: use the buttons of this page")
    if visit.form.get("default") == "yes":
        network = naming.set_default(visit.database, name)
        return visit.go("/networks", f"{network.pinned} is the default for {network.image_shape.words}")
    network = naming.unset_default(visit.database, name)
    return visit.go("/networks", f"{network.pinned} is no longer the default for {network.image_shape.words}")


def _network(network: NetworkSummary) -> list[Cell]:
    accuracy = network.own_accuracy
    state = Mark(network.state, "wrong") if network.error else network.state
    return [
        network.pinned,
        state,
        network.image_shape.short,
        len(network.classes),
        network.origin,
        "" if accuracy is None else f"{accuracy:.2%}",
        "default" if network.is_default else "",
        network.created_at,
    ]


def _button(network: NetworkSummary) -> Cell:
    if network.state != "ready":
        return None
    text = "No default" if network.is_default else "Make default"
    fields = (("network", network.pinned), ("default", "" if network.is_default else "yes"))
    return Button(text, "/networks", f"{text}: {network.pinned}", fields)


def _calibration(calibration: CalibrationSummary) -> list[Cell]:
    return [
        str(calibration.calibration_id),
        calibration.network,
        calibration.solver,
        Mark(state_text(calibration), "wrong") if calibration.error else state_text(calibration),
        f"{count_text(calibration.images, 'image')} of {calibration.name}",
        "" if calibration.accuracy is None else f"{calibration.accuracy:.2%}",
        calibration.error or json.dumps(calibration.parameters or {}, sort_keys=True),
        calibration.finished_at,
    ]
