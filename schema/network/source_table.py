"""What each source of a network adds: own accuracies with all of them, without each, and with each alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from schema.errors import NetworkError
from schema.network.layers import Spec
from schema.network.sources import MAX_SOURCES, NAME

_Share = Annotated[float, Field(ge=0, le=1)]


class SourceRow(Spec):
    """One source: its visible units, and accuracies in [0, 1] ``without`` it and with it ``alone``.

    They are None where a source would be left out that no image of the training was without.
    """

    name: str = Field(pattern=f"^{NAME}$", description="the name of a source")
    visible: int = Field(ge=1, lt=2**31)
    without: _Share | None = Field(description="from 0 to 1, or null")
    alone: _Share | None = Field(description="from 0 to 1, or null")


class SourceTable(Spec):
    """Accuracies of the network alone, on that many ``images``, ``held_out`` or else those trained on.

    ``all``: with all sources.
    """

    images: int = Field(ge=1, lt=2**63)
    held_out: bool
    all: _Share
    rows: tuple[SourceRow, ...] = Field(strict=False, min_length=2, max_length=MAX_SOURCES)


def source_table_of(metrics: Mapping[str, Any] | None) -> SourceTable | None:
    """Return the table in the ``metrics`` of a network; None: it has none, or an invalid one."""
    try:
        return SourceTable.from_dict((metrics or {}).get("sources"))
    except NetworkError:
        return None
