"""Faults on demand, by count, by chance or for a time; the same under the same seed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import date
from enum import StrEnum
from random import Random
from typing import Any

from schema.errors import ParameterError


class Target(StrEnum):
    """What a fault applies to: requests by their kind, or problems."""

    SUBMIT = "submit"  # POST problems
    POLL = "poll"  # GET problems by id
    LIST = "list"  # GET problems by label, status or solver
    ANSWER = "answer"  # GET of one problem, its answer, info or messages
    CANCEL = "cancel"  # DELETE
    SOLVERS = "solvers"
    ANY = "any"  # all of these requests
    PROBLEM = "problem"  # each accepted problem, not a request


class FaultKind(StrEnum):
    """The effect of a fault."""

    ERROR = "error"  # an answer with ``status``, and ``retry_after``
    RESET = "reset"  # the connection is reset
    DELAY = "delay"  # the answer comes ``delay_s`` later
    EXPIRE = "expire"  # the token is not accepted: 401
    LOSE = "lose"  # the problem's answer is gone for good: 410
    GONE = "gone"  # a problem of the request is gone for good: ``status``, also in later requests
    PURGE = "purge"  # only the ``newest`` problems are known; older ones are not listed, and ``status`` by id
    LAG = "lag"  # problems are listed ``delay_s`` after they were accepted
    CORRUPT = "corrupt"  # a wrong answer, see Damage
    HIDE = "hide"  # the field ``path`` of an answer is missing
    DEPRECATE = "deprecate"  # the header X-Deprecation: ``context``, ``message``, ``sunset``
    FAIL = "fail"  # the problem fails with ``message`` when the QPU has taken its time, ``charged`` or not
    CHARGE = "charge"  # the problem takes ``factor`` of its time, give or take ``spread``, and costs that
    MISPROGRAM = "misprogram"  # the problem's h and J have errors with the standard deviation ``spread``


class Damage(StrEnum):
    """The kind of a wrong answer; base64 and short need an answer with samples, omit a list."""

    BASE64 = "base64"  # energies are not base64
    TYPES = "types"  # energies are a number, and for other targets a list is an object
    SHORT = "short"  # fewer solutions than energies
    MEDIA = "media"  # another media type
    JSON = "json"  # half of the body is missing
    OMIT = "omit"  # the last item of a list is missing


# These do not replace the answer: a request suffers all of them.
_PASSING = {
    FaultKind.DELAY, FaultKind.PURGE, FaultKind.LAG, FaultKind.HIDE, FaultKind.DEPRECATE, FaultKind.CHARGE,
    FaultKind.MISPROGRAM,
}  # fmt: skip
_REQUESTS = frozenset(Target) - {Target.PROBLEM}
_TARGETS: dict[FaultKind, frozenset[Target]] = dict.fromkeys(FaultKind, _REQUESTS) | {
    FaultKind.LOSE: frozenset({Target.ANSWER}),
    FaultKind.GONE: frozenset({Target.POLL, Target.ANSWER}),
    FaultKind.LAG: frozenset({Target.LIST}),
    FaultKind.FAIL: frozenset({Target.PROBLEM}),
    FaultKind.CHARGE: frozenset({Target.PROBLEM}),
    FaultKind.MISPROGRAM: frozenset({Target.PROBLEM}),
}
_STATUS = {FaultKind.EXPIRE: 401, FaultKind.GONE: 410, FaultKind.PURGE: 404}
_CONTEXTS = ("api", "feature", "parameter", "solver")


@dataclass
class Fault:
    """One fault.

    Attributes:
        target: the requests that it applies to, or problem.
        kind: its effect.
        when: for submit, before a problem is accepted (nothing is charged) or after it; others happen before.
        count: how often at most, None for always.
        probability: of each matching request, or of each problem.
        duration_s: seconds after which it ends, None for never.
        status: 400 to 599; 404 or 410 for gone and purge. None for the kind's own.
        retry_after: seconds, None for no such header.
        delay_s: up to 3600.
        damage: the damage that kind corrupt does.
        newest: for purge, how many problems of a member remain known.
        path: for hide, a field such as ``answer.timing.qpu_access_time``.
        message: for fail, the error; for deprecate, the message.
        charged: for fail, whether the problem is charged.
        factor, spread: for charge; the time is multiplied by ``factor`` and by 1 - spread to 1 + spread.
            For misprogram, ``spread`` is a share of the largest |h| and |J|, and 0.1 by default.
        context, sunset: for deprecate; the date is YYYY-MM-DD.
        fired: how often it has happened.

    Raises:
        ParameterError: a field is out of range, or kind and target do not fit.
    """

    target: Target
    kind: FaultKind
    when: str = "before"
    count: int | None = None
    probability: float = 1.0
    duration_s: float | None = None
    status: int | None = None
    retry_after: float | None = None
    delay_s: float = 1.0
    damage: Damage = Damage.BASE64
    newest: int = 1000
    path: str = ""
    message: str = ""
    charged: bool = False
    factor: float = 1.0
    spread: float | None = None
    context: str = "solver"
    sunset: str = "2030-01-01"
    fired: int = field(default=0, init=False)
    _since: float = field(default_factory=time.monotonic, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.status is None:
            self.status = _STATUS.get(self.kind, 503)
        if self.spread is None:
            self.spread = 0.1 if self.kind is FaultKind.MISPROGRAM else 0.0
        self._check_ranges()
        self._check_kind()

    def _check_ranges(self) -> None:
        if self.when not in {"before", "after"}:
            raise ParameterError(f"a fault's when must be before or after, not {self.when!r:.80}")
        _check("count", self.count, int, 1, 1_000_000_000, none=True)
        _check("probability", self.probability, float, 0, 1)
        _check("duration_s", self.duration_s, float, 0, 86_400, none=True)
        _check("status", self.status, int, 400, 599)
        _check("retry_after", self.retry_after, float, 0, 3600, none=True)
        _check("delay_s", self.delay_s, float, 0, 3600)
        _check("newest", self.newest, int, 1, 1_000_000_000)
        _check("factor", self.factor, float, 0.001, 1000)
        _check("spread", self.spread, float, 0, 0.5)
        if not isinstance(self.charged, bool):
            raise ParameterError(f"a fault's charged must be true or false, not {self.charged!r:.80}")
        for name in ("path", "message", "context", "sunset"):
            text = getattr(self, name)
            if not isinstance(text, str) or not text.isascii() or not text.isprintable():
                raise ParameterError(f"a fault's {name} must be printable ASCII text, not {text!r:.80}")

    def _check_kind(self) -> None:
        if self.target not in (allowed := _TARGETS[self.kind]):
            names = ", ".join(target for target in Target if target in allowed)
            raise ParameterError(f"a fault of kind {self.kind} needs a target of {names}, not {self.target}")
        of_samples = self.kind is FaultKind.CORRUPT and self.damage in {Damage.BASE64, Damage.SHORT}
        if of_samples and self.target is not Target.ANSWER:
            raise ParameterError(
                f"damage {self.damage} needs the target answer; others take types, media, json, omit"
            )
        if self.kind in {FaultKind.GONE, FaultKind.PURGE} and self.status not in {404, 410}:
            raise ParameterError(f"a fault of kind {self.kind} has status 404 or 410, not {self.status}")
        if self.kind is FaultKind.HIDE and not self.path:
            raise ParameterError("a fault of kind hide needs a path, such as answer.timing.qpu_access_time")
        if self.context not in _CONTEXTS:
            raise ParameterError(
                f"a fault's context must be {', '.join(_CONTEXTS)}, not {self.context!r:.80}"
            )
        try:
            date.fromisoformat(self.sunset)
        except ValueError:
            raise ParameterError(f"a fault's sunset must be YYYY-MM-DD, not {self.sunset!r:.80}") from None

    @property
    def expired(self) -> bool:
        """Return whether its time or its count is used up."""
        if self.duration_s is not None and time.monotonic() - self._since >= self.duration_s:
            return True
        return self.count is not None and self.fired >= self.count

    def describe(self) -> dict[str, Any]:
        """Return all fields, ready for JSON."""
        return {name.name: getattr(self, name.name) for name in fields(self) if name.name != "_since"}


@dataclass(frozen=True)
class View:
    """What a request sees of the problems under faults.

    Attributes:
        lag_s: younger problems are not listed.
        newest: how many problems of a member are known, None for all.
        status: the answer to a request for an older one.
        changes: what is missing or wrong in the answer, so that no cached one without it is right.
    """

    lag_s: float = 0.0
    newest: int | None = None
    status: int = 404
    changes: str = ""

    @classmethod
    def under(cls, faults: Iterable[Fault]) -> View:
        """Return the view of a request that suffers ``faults``."""
        lags = [fault.delay_s for fault in faults if fault.kind is FaultKind.LAG]
        purges = [fault for fault in faults if fault.kind is FaultKind.PURGE]
        changes = [fault.path for fault in faults if fault.kind is FaultKind.HIDE]
        changes += [fault.damage for fault in faults if fault.kind is FaultKind.CORRUPT]
        view = cls(max(lags, default=0.0), changes=",".join(changes))
        if not purges:
            return view
        purge = min(purges, key=lambda fault: fault.newest)
        return replace(view, newest=purge.newest, status=purge.status or 404)


class Faults:
    """The active faults, in order.

    A request or problem suffers those that do not replace its answer, and the first of the others that
    matches.
    """

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)  # noqa: S311 - faults must repeat under a seed, not be secret
        self.active: list[Fault] = []
        self._cleared = asyncio.Event()

    def clear(self) -> None:
        """Remove all faults; requests that are delayed continue."""
        self.active.clear()
        self._cleared.set()
        self._cleared = asyncio.Event()

    async def delay(self, seconds: float) -> None:
        """Wait for ``seconds``, or until all faults are cleared."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._cleared.wait(), seconds)

    def pick(self, target: Target, when: str = "before") -> list[Fault]:
        """Return the faults of a request or problem (``target``) at this moment (``when``); count them."""
        chosen: list[Fault] = []
        for fault in self.active:
            decided = any(other.kind not in _PASSING for other in chosen)
            if (fault.kind in _PASSING or not decided) and self._happens(fault, target, when):
                fault.fired += 1
                chosen.append(fault)
        return chosen

    def choose(self, ids: list[str]) -> str:
        """Return one of ``ids`` at random."""
        return self._random.choice(ids)

    def charge_factor(self, faults: Iterable[Fault]) -> float:
        """Return the factor by which ``faults`` change the time of a problem."""
        factor = 1.0
        for fault in faults:
            if fault.kind is FaultKind.CHARGE:
                spread = fault.spread or 0.0
                factor *= fault.factor * self._random.uniform(1 - spread, 1 + spread)
        return factor

    def _happens(self, fault: Fault, target: Target, when: str) -> bool:
        moment = fault.when if target is Target.SUBMIT else "before"
        matches = fault.target is target or (fault.target is Target.ANY and target is not Target.PROBLEM)
        if not matches or moment != when or fault.expired:
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
    if text in {"true", "false"}:
        return text == "true"
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
