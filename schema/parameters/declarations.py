"""Declares parameters: where each counts, its limits, and what an error says about a wrong value."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self, get_args

from pydantic import (
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass
from pydantic.fields import FieldInfo

from schema.errors import ParameterError, validation_text
from schema.parameters.choices import Solver

AUTO = "auto"  # in a request instead of a value that is then chosen for the run
NAMES = tuple[str, ...]
_HUGE = 10**9  # an upper limit that protects the database, and tells a user nothing
_LIMITS = ("ge", "gt", "le", "min_length", "max_length")


@dataclass(frozen=True, config=ConfigDict(strict=True, allow_inf_nan=False, extra="forbid"))
class Validated:
    """Base of dataclasses whose fields are checked against their limits when they are made.

    Raises:
        ParameterError: it names each wrong value, its limits and what was given.
    """

    @field_validator("*", mode="wrap")
    @classmethod
    def _leave_whole_numbers(cls, value: Any, check: ValidatorFunctionWrapHandler) -> Any:
        checked = check(value)
        return value if type(value) is int else checked  # 2 is not stored as 2.0: digests depend on it

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, values: Any, check: ValidatorFunctionWrapHandler) -> Self:
        try:
            checked: Self = check(values)
        except ValidationError as error:
            problems = (_problem(each["loc"], each["input"], each["msg"], cls) for each in error.errors())
            raise ParameterError("; ".join(problems)) from None
        return checked


@dataclass(frozen=True)
class Availability:
    """Where a parameter counts.

    Attributes:
        solvers: those that have it.
        calibrated: whether a calibration may choose its value.
        automatic: whether a request may ask for `AUTO` instead of a value.
    """

    solvers: tuple[Solver, ...] = tuple(Solver)
    calibrated: bool = True
    automatic: bool = False


def declare(default: Any, description: str, availability: Availability | None = None, **limits: Any) -> Any:
    """Declare a parameter with its ``default``, its ``description`` for users, where it counts, and
    ``limits`` by pydantic's names.
    """
    field: FieldInfo = Field(default, description=description, **limits)
    field.metadata.append(availability or Availability())
    return field


def fields_of(kind: type) -> dict[str, FieldInfo]:
    """Return the declarations of a validated dataclass ``kind`` by name: type, limits, description."""
    declared: dict[str, FieldInfo] = kind.__pydantic_fields__  # type: ignore[attr-defined]
    return declared


def scope(field: FieldInfo) -> Availability:
    """Return where the parameter that ``field`` declares counts."""
    return next(about for about in field.metadata if isinstance(about, Availability))


def plain_type(field: FieldInfo) -> Any:
    """Return the type of ``field``, without None where it may be left out."""
    return next((kind for kind in get_args(field.annotation) if kind is not type(None)), field.annotation)


def is_structured(field: FieldInfo) -> bool:
    """Return whether a value of ``field`` is written as JSON where only text can be given."""
    kind = plain_type(field)
    return kind not in (bool, int, float, str, NAMES) and not issubclass(kind, StrEnum)


def is_list(field: FieldInfo) -> bool:
    """Return whether ``field`` takes several texts: an option that may be given several times."""
    return bool(plain_type(field) == NAMES)


def limits_of(field: FieldInfo) -> dict[str, Any]:
    """Return the limits of ``field`` by pydantic's names: ge, gt, le, min_length, max_length."""
    return {
        name: getattr(about, name) for about in field.metadata for name in _LIMITS if hasattr(about, name)
    }


def range_text(field: FieldInfo) -> str:
    """Return the range of the numbers that ``field`` takes: `1 to 10,000`, `above 0`; empty without one."""
    limits = limits_of(field)
    if plain_type(field) not in (int, float) or not limits:
        return ""
    if "ge" in limits and "le" in limits:
        return (
            f"{limits['ge']:,} to {limits['le']:,}" if limits["le"] < _HUGE else f"{limits['ge']:,} or more"
        )
    low = f"above {limits['gt']:g}" if "gt" in limits else f"{limits['ge']:g} or more"
    return f"{low}, at most {limits['le']:g}" if "le" in limits else low


def solver(name: str) -> Solver:
    """Return the solver called ``name``; raise ParameterError that lists the names."""
    try:
        return Solver(name)
    except ValueError:
        raise ParameterError(_unknown("solver", name, Solver)) from None


def is_automatic(field: FieldInfo) -> bool:
    """Return whether a request may ask for `AUTO` instead of a value of ``field``."""
    return any(isinstance(about, Availability) and about.automatic for about in field.metadata)


def words(name: str) -> str:
    """Return the name of a parameter as it is written in a sentence."""
    return name.removesuffix("_us").replace("_", " ")


def _unknown(name: str, value: object, words: type[StrEnum]) -> str:
    return f"unknown {name} {value!r}; choose one of: {', '.join(words)}"


def _problem(place: tuple[int | str, ...], value: object, message: str, kind: type) -> str:
    """Return what is wrong with ``value``, and what can be used instead."""
    name = str(place[0])
    field = fields_of(kind).get(name)
    wanted = None if field is None else plain_type(field)
    if isinstance(wanted, type) and issubclass(wanted, StrEnum):
        return _unknown(name, value, wanted)
    if field is None or not limits_of(field) or wanted not in (str, int, float):
        return f"{words(name)}: {validation_text(message, value)}"
    given = f"{len(value)} characters long" if isinstance(value, str) and wanted is str else repr(value)
    title = f"the {field.title}" if field.title else "it"
    return f"{words(name)} is {given}; {title} must be {_limits(field)}"


def _limits(field: FieldInfo) -> str:
    """Return the limits of ``field`` in words: `a whole number from 1 to 10,000`."""
    limits, kind = limits_of(field), plain_type(field)
    if kind is str:
        return f"{limits['min_length']:,} to {limits['max_length']:,} characters long"
    if kind is int:
        return f"a whole number from {_number(limits['ge'])} to {_number(limits['le'])}"
    low = f"above {limits['gt']:g}" if "gt" in limits else f"at least {limits['ge']:g}"
    return f"{low} and at most {limits['le']:g}" if "le" in limits else f"a finite number {low}"


def _number(number: int) -> str:
    return f"{number:,}" if abs(number) >= 10_000 else str(number)
