"""Copies rows into frozen dataclasses."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Summary = TypeVar("_Summary", bound="DataclassInstance")


def copy_row(row: object, kind: type[_Summary], **values: Any) -> _Summary:
    """Return a ``kind`` with ``values``; its other fields are the attributes of ``row`` of the same names."""
    names = {field.name for field in fields(kind)} - values.keys()
    return kind(**{name: getattr(row, name) for name in names}, **values)
