"""What a run was made of, as text: the command that repeats it, and a list of its inputs."""

from __future__ import annotations

import json
import platform
import shlex
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from producer.dashboard.run_facts import RunFacts
from producer.runs import queries
from producer.runs.request import option_name
from schema.quantities import count_text, time_text

_RESCORED = {"reads", "rule", "fraction", "beta", "unembedding"}


def command(run: queries.RunSummary) -> str:
    """Return the command that repeats ``run`` with all its parameters."""
    words = ["annealq", "classify", run.name, "-n", run.network, "-s", run.solver]
    if run.rescored_from is not None:
        words = ["annealq", "runs", "rescore", str(run.rescored_from)]
    for name, value in _parameters(run).items():
        if run.rescored_from is not None and name not in _RESCORED:
            continue
        if name == "noise" and not value:
            continue
        text = json.dumps(value) if isinstance(value, (list, tuple)) else str(value)
        words += [option_name(name), text]
    if run.rescored_from is None:
        words.append("--no-calibration")  # its parameters are named already
    return shlex.join(words)


def rows(facts: RunFacts) -> list[tuple[str, str]]:
    """Return names and values of the inputs of the run in ``facts``."""
    run, provenance = facts.run, facts.provenance
    network, calibration = provenance.network, provenance.calibration
    training = json.dumps(network.training, sort_keys=True)
    values = [
        ("data", f"{run.name}, {count_text(run.images, 'image')} in {count_text(run.batches, 'batch')}"),
        ("content, sha256", provenance.content_sha256),
        ("network", f"{run.network}, {network.origin}; trained with {training}"),
        ("weights, sha256", network.weights_sha256 or "none"),
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


def _parameters(run: queries.RunSummary) -> dict[str, Any]:
    return {name: value for name, value in run.parameters.items() if value is not None}
