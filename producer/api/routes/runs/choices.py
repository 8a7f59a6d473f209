"""Which classified images of a run a request wants."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Query
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement

from producer.runs.filters import ResultFilter, image_conditions


class ResultChoice(BaseModel):
    """Which images are wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    wrong: Annotated[bool | None, Query(description="Labelled images that are wrong, or right.")] = None
    status: Literal["decided", "tied", "undecided"] | None = None
    label: Annotated[int | None, Query(ge=0, lt=2**31, description="Of this class, by number.")] = None
    predicted: Annotated[int | None, Query(ge=0, lt=2**31, description="Predicted to be of it.")] = None
    probability_below: Annotated[float | None, Query(ge=0, le=1)] = None
    margin_below: Annotated[float | None, Query(ge=0, le=1)] = None
    set_size_above: Annotated[int | None, Query(ge=0, lt=2**31, description="Larger sets of classes.")] = None
    provisional: Annotated[
        bool,
        Query(description="Also results that a later round of reads may change."),
    ] = False

    def wanted(self) -> list[ColumnElement[bool]]:
        """Return the conditions on images."""
        return image_conditions(
            ResultFilter(
                wrong=self.wrong,
                status=self.status,
                label=self.label,
                predicted=self.predicted,
                probability_below=self.probability_below,
                margin_below=self.margin_below,
                set_size_above=self.set_size_above,
            )
        )


def complete_header(end: int | None) -> dict[str, str]:
    """Return the header that says whether a file has all images; ``end`` is the first that may change."""
    return {"Annealq-Complete": str(end is None).lower()}
