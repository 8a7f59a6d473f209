"""Examples of requests and answers in /openapi.json."""

from __future__ import annotations

from typing import Any

_RUN_1 = "/v1/runs/1"
_EXAMPLES: dict[str, dict[str, Any]] = {
    "Request": {"uri": "/data/mnist_test.npz", "network": "mnist", "reads": 100},
    "Form": {"network": "digits", "reads": 100},
    "Resumption": {"budget_s": 2.5},
    "SubmittedRun": {
        "run_id": 1,
        "state": "queued",
        "created": True,
        "notes": ["all turned from colour to grey, as network 'mnist' takes them"],
        "links": {
            "self": _RUN_1,
            **{part: f"{_RUN_1}/{part}" for part in ("results", "events", "pause", "resume", "cancel")},
        },
    },
    "RunStateNow": {"run_id": 1, "state": "paused"},
    "CancelledRun": {
        "run_id": 1, "state": "cancelled", "charged_us": 15_960.0, "in_flight": 0, "in_flight_us": 0,
    },
    "ResumedRun": {"run_id": 1, "batches_left": 3},
    "ProblemDetails": {
        "type": "/problems/not_found",
        "title": "There is no such thing, or the key does not see it",
        "status": 404,
        "detail": "no run 5",
        "instance": "/v1/runs/5",
        "code": "not_found",
        "hint": "GET /v1/runs, /v1/networks and /v1/embeddings list what exists",
        "errors": [],
        "error": "not_found",
        "message": "no run 5",
        "way_out": "GET /v1/runs, /v1/networks and /v1/embeddings list what exists",
    },
}  # fmt: skip


def add_examples(described: dict[str, Any]) -> None:
    """Add the examples to the schemas of ``described``, an OpenAPI description."""
    schemas = described["components"]["schemas"]
    for name, example in _EXAMPLES.items():
        schemas[name]["examples"] = [example]
