"""What the tables are made of: column types, the base class, the naming of constraints."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Integer,
    LargeBinary,
    MetaData,
    String,
    TypeDecorator,
)
from sqlalchemy.orm import DeclarativeBase

from schema.states import (
    BatchState,
    CalibrationState,
    DeliveryState,
    EmbeddingState,
    FiringState,
    NetworkState,
    PausedBy,
    PreparationState,
    ProblemState,
    RunState,
    ScheduleState,
)

# SQLite numbers rows by itself only where the key's type is INTEGER.
Key = BigInteger().with_variant(Integer(), "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, kept as UTC. SQLite has no time zones and stores the naive UTC value."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored time needs a time zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class StateColumn(TypeDecorator[StrEnum]):
    """A state, kept as its word; read back as the enum's member."""

    impl = String(16)
    cache_ok = True

    def __init__(self, states: type[StrEnum]) -> None:
        super().__init__()
        self.states = states

    def process_bind_param(self, value: StrEnum | None, _dialect: Dialect) -> str | None:
        return None if value is None else self.states(value).value

    def process_result_value(self, value: str | None, _dialect: Dialect) -> StrEnum | None:
        return None if value is None else self.states(value)


def known(states: type[StrEnum]) -> CheckConstraint:
    """The CHECK that a `state` column holds one of these words."""
    words = ", ".join(f"'{state.value}'" for state in states)
    return CheckConstraint(f"state IN ({words})", name="state_known")


class Base(DeclarativeBase):
    """What every table derives from: names of constraints, and which Python type is which column."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        datetime: UtcDateTime(),
        dict[str, Any]: JSON(none_as_null=True),
        list[str]: JSON(none_as_null=True),
        bytes: LargeBinary(),
        NetworkState: StateColumn(NetworkState),
        CalibrationState: StateColumn(CalibrationState),
        EmbeddingState: StateColumn(EmbeddingState),
        PreparationState: StateColumn(PreparationState),
        RunState: StateColumn(RunState),
        PausedBy: StateColumn(PausedBy),
        ScheduleState: StateColumn(ScheduleState),
        FiringState: StateColumn(FiringState),
        BatchState: StateColumn(BatchState),
        ProblemState: StateColumn(ProblemState),
        DeliveryState: StateColumn(DeliveryState),
    }
