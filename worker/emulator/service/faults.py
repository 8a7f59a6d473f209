"""Faults on demand, by count or by chance; the same under the same seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from random import Random
from typing import Any

from schema.errors import ParameterError


class Target(StrEnum):
    """The requests that a fault applies to."""

    SUBMIT = "submit"  # POST problems
    POLL = "poll"  # GET problems by id
    LIST = "list"  # GET problems by label, status or solver
    ANSWER = "answer"  # GET of one problem, its answer, info or messages
    CANCEL = "cancel"  # DELETE
    SOLVERS = "solvers"


class FaultKind(StrEnum):
    """The effect of a fault."""

    ERROR = "error"  # an answer with ``status``, and ``retry_after``
    RESET = "reset"  # the connection is reset
    DELAY = "delay"  # the answer comes ``delay_s`` later
    LOSE = "lose"  # the problem's answer is gone for good: 410
    CORRUPT = "corrupt"  # a wrong answer, see Damage


class Damage(StrEnum):
    """The kind of a wrong answer; all but `media` need an answer with samples."""

    BASE64 = "base64"  # energies are not base64
    TYPES = "types"  # energies are a number, and for other targets a list is an object
    SHORT = "short"  # fewer solutions than energies
    MEDIA = "media"  # another media type
    JSON = "json"  # half of the body is missing


@dataclass
class Fault:
    """One fault.

    Attributes:
        target: the requests that it applies to.
        kind: its effect.
        when: for submit, before a problem is accepted (nothing is charged) or after it; others happen before.
        count: how often at most, None for always.
        probability: of each matching request.
        status: 400 to 599.
        retry_after: seconds, None for no such header.
        delay_s: up to 3600.
        damage: the damage that kind corrupt does.
        fired: how often it has happened.

    Raises:
        ParameterError: a field is out of range, or kind and target do not fit.
    """

    target: Target
    kind: FaultKind
    when: str = "before"
    count: int | None = None
    probability: float = 1.0
    status: int = 503
    retry_after: float | None = None
    delay_s: float = 1.0
    damage: Damage = Damage.BASE64
    fired: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        if self.when not in {"before", "after"}:
            raise ParameterError(f"a fault's when must be before or after, not {self.when!r:.80}")
        _check("count", self.count, int, 1, 1_000_000_000, none=True)
        _check("probability", self.probability, float, 0, 1)
        _check("status", self.status, int, 400, 599)
        _check("retry_after", self.retry_after, float, 0, 3600, none=True)
        _check("delay_s", self.delay_s, float, 0, 3600)
        if self.kind is FaultKind.LOSE and self.target is not Target.ANSWER:
            raise ParameterError("a lost answer (kind lose) needs the target answer")
        of_samples = self.kind is FaultKind.CORRUPT and self.damage in {Damage.BASE64, Damage.SHORT}
        if of_samples and self.target is not Target.ANSWER:
            raise ParameterError(
                f"damage {self.damage} needs the target answer; others take types, media, json"
            )

    def describe(self) -> dict[str, Any]:
        """Return all fields, ready for JSON."""
        return {name.name: getattr(self, name.name) for name in fields(self)}


class Faults:
    """The active faults, in order. A request suffers all delays, and the first of the others that matches."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 - faults must repeat under a seed, not be secret
        self.active: list[Fault] = []

    def pick(self, target: Target, when: str) -> list[Fault]:
        """Return the faults of a request with this ``target`` at this moment (``when``), and count them."""
        chosen: list[Fault] = []
        for fault in self.active:
            decided = any(one.kind is not FaultKind.DELAY for one in chosen)
            if (fault.kind is FaultKind.DELAY or not decided) and self._happens(fault, target, when):
                fault.fired += 1
                chosen.append(fault)
        return chosen

    def _happens(self, fault: Fault, target: Target, when: str) -> bool:
        moment = fault.when if target is Target.SUBMIT else "before"
        if fault.target is not target or moment != when:
            return False
        if fault.count is not None and fault.fired >= fault.count:
            return False
        return fault.probability == 1 or self._random.random() < fault.probability


def parse(description: object) -> Fault:
    """Return the fault that the JSON value ``description`` describes.

    Raises:
        ParameterError: it is not an object, has an unknown field or lacks one, or a field is wrong.
    """
    if not isinstance(description, Mapping):
        raise ParameterError(f"a fault must be an object, not {type(description).__name__}")
    field_names = [name.name for name in fields(Fault) if name.init]
    if unknown := set(description) - set(field_names):
        raise ParameterError(
            f"a fault has no field {min(map(str, unknown))!r:.80}; available: {', '.join(field_names)}"
        )
    if not {"target", "kind"} <= set(description):
        raise ParameterError("a fault needs target and kind")
    values = dict(description)
    for name, choice in (("target", Target), ("kind", FaultKind), ("damage", Damage)):
        if name in values:
            values[name] = _choice(name, values[name], choice)
    return Fault(**values)


def parse_option(text: str) -> Fault:
    """Return the fault of a ``text`` such as ``target=submit,kind=reset,when=after,count=1``.

    Raises:
        ParameterError: as `parse`.
    """
    values: dict[str, object] = {}
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals:
            raise ParameterError(
                f"a fault is written target=submit,kind=error,status=503; {part!r:.80} has no ="
            )
        values[name.strip()] = _value(value.strip())
    return parse(values)


def _value(text: str) -> object:
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text


def _choice(name: str, value: object, choice: type[StrEnum]) -> StrEnum:
    names = [str(member) for member in choice]
    if value not in names:
        raise ParameterError(f"a fault's {name} must be {', '.join(names)}, not {value!r:.80}")
    return choice(str(value))


def _check(name: str, value: object, kind: type, low: float, high: float, *, none: bool = False) -> None:
    if value is None and none:
        return
    fits = type(value) is int if kind is int else type(value) in {int, float}
    if not fits or not low <= value <= high:  # type: ignore[operator] # checked by type
        raise ParameterError(f"a fault's {name} must be {low:,} to {high:,}, not {value!r:.80}")
