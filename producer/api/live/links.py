"""Where the parts of a run are found."""

from __future__ import annotations


def links(run: int) -> dict[str, str]:
    """Paths by name."""
    base = f"/v1/runs/{run}"
    parts = ("results", "events", "pause", "resume", "cancel")
    return {"self": base, **{part: f"{base}/{part}" for part in parts}}
