"""Bodies of requests about owners of keys; the forms of their pages are checked by the same models."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from producer.api.keys import keys
from producer.api.keys.keys import KeyLimits, NewKey, Scope
from producer.webhooks.addresses import check_url
from producer.webhooks.kinds import Kind
from schema.database import Database
from schema.errors import ParameterError

OwnerName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
_COUNT = Field(None, ge=1, lt=2**31, description="None by default.")


class OwnerBody(BaseModel):
    """Permissions, limits and webhook of an owner of keys; null: no such limit, or no webhook."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    scope: Scope = Scope.SUBMIT
    requests_per_minute: int | None = _COUNT
    images_per_day: int | None = _COUNT
    qpu_s_per_day: float | None = Field(None, gt=0, le=1e9)
    all_runs: bool = Field(False, strict=True, description="It sees the runs of all owners.")
    sees: tuple[OwnerName, ...] = Field(
        (), max_length=100, description="Names of owners whose runs it sees, too."
    )
    webhook_url: Annotated[str, Field(min_length=1, max_length=2_000)] | None = Field(
        None, description="Where what happens to its runs is posted, if they name no other webhook."
    )
    webhook_events: Annotated[list[Kind], Field(min_length=1, max_length=len(Kind))] | None = Field(
        None, description="The kinds of messages that are sent there; default: all but `progress`."
    )

    def given(self, *, allow_private: bool) -> dict[str, Any]:
        """Return what was given, by the names that `producer.api.keys.owners.change` takes.

        Raises:
            ParameterError: the webhook's address is invalid, or private without ``allow_private``.
        """
        values = self.model_dump(include=self.model_fields_set & OwnerBody.model_fields.keys())
        if "qpu_s_per_day" in values:
            values["qpu_us_per_day"] = self.qpu_us_per_day
            del values["qpu_s_per_day"]
        if values.get("webhook_events"):
            values["webhook_events"] = list(map(str, values["webhook_events"]))
        if self.webhook_url is not None:
            try:
                check_url(self.webhook_url, allow_private=allow_private)
            except ParameterError as error:
                raise ParameterError(str(error), "webhook_url") from None
        return values

    @property
    def qpu_us_per_day(self) -> int | None:
        """Return the limit of QPU time in microseconds."""
        return None if self.qpu_s_per_day is None else max(round(self.qpu_s_per_day * 1e6), 1)


class KeyBody(OwnerBody):
    """An owner of keys, its permissions and its limits."""

    name: OwnerName
    expires_after_days: float | None = Field(None, ge=0.001, le=36_500)

    @property
    def lifetime(self) -> timedelta | None:
        """Return the time after which the key expires; None: never."""
        return None if self.expires_after_days is None else timedelta(days=self.expires_after_days)


def add_owner(database: Database, body: KeyBody, *, allow_private: bool) -> NewKey:
    """Add the owner in ``body`` to ``database`` with its first key.

    With ``allow_private`` the address of its webhook may be private.

    Raises:
        ParameterError: its name is taken, its webhook's address cannot be used, or it sees all runs and those
            of named owners.
        NotFound: there is no owner whose runs it is to see.
    """
    given = body.given(allow_private=allow_private)
    if body.sees and (body.all_runs or body.scope is Scope.ADMIN):
        raise ParameterError(f"{body.name!r} sees the runs of all owners: omit the names of some", "sees")
    return keys.add(
        database,
        body.name,
        body.scope,
        KeyLimits(body.requests_per_minute, body.images_per_day, body.qpu_us_per_day),
        body.webhook_url,
        all_runs=body.all_runs,
        sees=body.sees,
        lifetime=body.lifetime,
        webhook_events=given.get("webhook_events"),
    )
