"""What is changed of a run: the body of PATCH /v1/runs/RUN, and the form of its page."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from producer.api.keys.keys import Caller
from producer.api.routes.runs.conflicts import new_budget_us
from producer.api.routes.submissions.options import LongText, Text
from producer.runs.request import MAX_BUDGET_US, Priority, Tags
from schema.calendar.windows import MAX_WINDOWS


class RunChanges(BaseModel):
    """What is changed of a run; what is left out stays. Null removes a budget, a window or a deadline."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: Text | None = Field(None, description="Its name, for display.")
    tags: Tags = Field((), description="All of its tags.")
    priority: Priority = 0
    budget_s: float | None = Field(
        None, gt=0, le=MAX_BUDGET_US / 1e6, description="QPU seconds; scope admin."
    )
    window: Text | Annotated[list[Text], Field(min_length=1, max_length=MAX_WINDOWS)] | None = Field(
        None, description="Hours in which it may work, as for POST /v1/runs."
    )
    tz: Text | None = Field(None, description="Time zone of window and deadline; default: that of the run.")
    deadline: LongText | None = Field(None, description="As for POST /v1/runs.")

    def made_by(self, caller: Caller) -> dict[str, Any]:
        """Return what `control.change_run` changes, by name; of the name, null changes nothing.

        Raises:
            RequestRefused: the ``caller`` may not change the budget.
        """
        values = self.model_dump(include=self.model_fields_set)
        if values.get("name", "") is None:
            del values["name"]
        if isinstance(values.get("window"), str):
            values["window"] = [values["window"]]
        if "budget_s" in values:
            values["budget_us"] = new_budget_us(caller, values.pop("budget_s"))
        return values
