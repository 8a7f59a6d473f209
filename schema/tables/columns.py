"""Column types, the base class of all tables, and the names of constraints."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum, StrEnum
from typing import Any

import sqlalchemy
from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    TypeDecorator,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

# SQLite numbers rows on its own only where the key's type is INTEGER.
Key = BigInteger().with_variant(Integer(), "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, stored as UTC. SQLite has no time zones and stores the naive UTC value."""

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


def known(states: type[StrEnum]) -> CheckConstraint:
    """Return the CHECK that a `state` column holds one of the words of ``states``."""
    words = ", ".join(f"'{state.value}'" for state in states)
    return CheckConstraint(f"state IN ({words})", name="state_known")


def _words(states: type[Enum]) -> list[str]:
    return [state.value for state in states]


class Base(DeclarativeBase):
    """Base of every table: names of constraints, and the column type of each Python type."""

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
        list[dict[str, Any]]: JSON(none_as_null=True),
        list[int]: JSON(none_as_null=True),
        bytes: LargeBinary(),
        # States are stored as their words; their CHECK is `known`.
        Enum: sqlalchemy.Enum(
            Enum, native_enum=False, length=16, values_callable=_words, validate_strings=True
        ),
    }


class Leased:
    """Columns of a row that one worker at a time works on."""

    fence: Mapped[int] = mapped_column(default=0)  # counts claims; an older fence has lost its lease
    attempts: Mapped[int] = mapped_column(default=0)  # that have been begun
    lease_until: Mapped[datetime | None]  # afterwards another worker may claim the row
    error: Mapped[str | None] = mapped_column(Text)  # of the latest attempt that failed
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]  # of the latest attempt
