"""What a run was made of, as text: the commands that repeat it, and a list of its inputs."""

from __future__ import annotations

import json
import platform
import shlex
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from producer.dashboard.report.run_facts import Provenance
from producer.images.locations import is_unchanged
from producer.images.origin import DataOrigin
from producer.networks.queries import NetworkSummary
from producer.runs import queries
from producer.runs.request import option_name
from schema.parameters import Parameters, fields_of, is_list
from schema.quantities import count_text, time_text

_RESCORED = {"reads", "rule", "fraction", "beta", "unembedding", "confidence", "by_class"}


def commands(run: queries.RunSummary, provenance: Provenance) -> list[str]:
    """Return the commands that repeat ``run`` from its ``provenance``, the last one with all parameters.

    Images that are not on this machine as they were read are first written to a file, from the database.
    """
    origin = provenance.origin
    if run.rescored_from is not None:
        options = _options({name: value for name, value in _parameters(run).items() if name in _RESCORED})
        return [shlex.join(["annealq", "runs", "rescore", str(run.rescored_from), *options])]
    if origin is not None and is_unchanged(origin):
        data = [origin.data, *origin.options()]
        before, name = [], origin.name
    else:
        name = f"run-{run.run_id}.npz"
        data = [name]
        before = [f"annealq runs export {run.run_id} --images {name}"]
    words = ["annealq", "classify", *data, "--network", run.network, "--solver", run.solver]
    if run.name != name:
        words += ["--name", run.name]
    # Batches decide the last digits of energies, and which images share a problem of a QPU.
    words += ["--batch-size", str(provenance.batch_size)]
    words += _options(_parameters(run))
    # Its parameters are all given, so that a calibration is only wanted for sets of classes.
    needed = [] if run.parameters.get("confidence") is not None else ["--no-calibration"]
    return [*before, shlex.join([*words, *needed])]


def rows(run: queries.RunSummary, provenance: Provenance) -> list[tuple[str, str]]:
    """Return names and values of the inputs of ``run`` in its ``provenance``."""
    network, calibration = provenance.network, provenance.calibration
    training = json.dumps(network.training, sort_keys=True)
    values = [
        ("data", f"{run.name}, {count_text(run.images, 'image')} in {count_text(run.batches, 'batch')}"),
        *_source(provenance.origin),
        ("content, sha256", provenance.content_sha256),
        ("network", f"{run.network}, {network.origin}; trained with {training}"),
        ("weights, sha256", network.weights_sha256 or "none"),
        *_sources(network),
        ("parameters", json.dumps(_parameters(run), sort_keys=True)),
    ]
    if calibration is not None:
        images = f"{count_text(calibration.images, 'image')} of {calibration.name}"
        values.append(("calibration", f"{calibration.calibration_id}, on {images}"))
    for embedding in provenance.embeddings:
        seed = "" if embedding.seed is None else f", seed {embedding.seed}"
        values += [
            ("solver", f"{embedding.solver}: {embedding.chip}, graph {embedding.graph_id}"),
            (
                "embedding",
                f"{embedding.embedding_id}: {count_text(embedding.tiles or 1, 'tile')} by "
                f"{embedding.method}{seed}",
            ),
        ]
    times = (("enqueued", run.created_at), ("started", run.started_at), ("finished", run.finished_at))
    values += [(name, time_text(when)) for name, when in times if when is not None]
    packages = ", ".join(f"{name} {version(name)}" for name in ("annealq", "numpy", "sqlalchemy"))
    now = time_text(datetime.now(UTC))
    return [*values, ("this report", f"{now}, {packages}, Python {platform.python_version()}")]


def _sources(network: NetworkSummary) -> list[tuple[str, str]]:
    """Return what each source of ``network`` adds, where that is known."""
    text = str(network.sources or "")
    return [("sources", text)] if text else []


def _source(origin: DataOrigin | None) -> list[tuple[str, str]]:
    """Return where the images came from, and the digests of these files."""
    if origin is None:
        return []
    chosen = shlex.join(origin.options())
    how = "uploaded as " if origin.uploaded else ""
    values = [("read from", f"{how}{origin.data}" + (f", {chosen}" if chosen else ""))]
    if origin.schedule is not None:
        values.append(("schedule", f"{origin.schedule}, due at {origin.due_at}"))
    digests = (("file, sha256", origin.sha256), ("labels, sha256", origin.labels_sha256))
    return values + [(name, sha256) for name, sha256 in digests if sha256 is not None]


def _parameters(run: queries.RunSummary) -> dict[str, Any]:
    return {name: value for name, value in run.parameters.items() if value is not None}


def _options(parameters: dict[str, Any]) -> list[str]:
    """Return the options that give ``parameters``."""
    words = []
    for name, value in parameters.items():
        if value is True:
            words.append(option_name(name))
        elif is_list(fields_of(Parameters)[name]):
            words += [word for each in value for word in (option_name(name), each)]
        elif name != "noise" or value:  # solvers with qubits have no such option
            words += [
                option_name(name),
                json.dumps(value) if isinstance(value, (list, tuple)) else str(value),
            ]
    return words
