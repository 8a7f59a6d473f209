"""URLs of a run."""

from __future__ import annotations


def links(run: int) -> dict[str, str]:
    """Return the paths of ``run`` and of its parts, by name."""
    base = f"/v1/runs/{run}"
    parts = ("results", "events", "pause", "resume", "cancel")
    return {"self": base, **{part: f"{base}/{part}" for part in parts}}
