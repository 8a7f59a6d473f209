"""Which QPUs a run may use, as its parameter `qpu` names them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schema.errors import ParameterError


@dataclass(frozen=True)
class QpuChoice:
    """The QPUs that a run may use, as its parameter `qpu` names them.

    Attributes:
        names: of solvers, in order of preference. With several, a run moves to the next one while one is
            offline; with one, it waits.
        features: of a solver, as in D-Wave's client; None: as its configuration says, or the largest QPU.
    """

    names: tuple[str, ...] = ()
    features: Mapping[str, Any] | None = None

    @property
    def has_several(self) -> bool:
        """Return whether a run may move to another QPU by itself."""
        return len(self.names) > 1

    @classmethod
    def parse(cls, text: str | None) -> QpuChoice:
        """Return the choice that ``text`` names: `NAME`, `NAME,OTHER`, features as a JSON object, or None.

        Raises:
            ParameterError: the names or the features are malformed.
        """
        if text is None:
            return cls()
        if not text.lstrip().startswith("{"):
            names = tuple(name.strip() for name in text.split(","))
            if not all(names):
                raise ParameterError(f"qpu is {text!r}: give one or more names with commas between them")
            return cls(tuple(dict.fromkeys(names)))
        try:
            features = json.loads(text)
        except ValueError as error:
            raise ParameterError(
                f"features of a solver must be one JSON object; {text!r} is not: {error}"
            ) from None
        return cls(features=features)

    def after(self, used: str | None) -> QpuChoice:
        """Return the choice of a run that ``used`` a QPU before: it stays there, unless several are named."""
        return self if used is None or self.has_several else QpuChoice((used,))


def solver_key(solver: str, parameters: Mapping[str, Any], used: str | None = None) -> str:
    """Return the key of a ``solver``: its kind, with the QPU names or features in a run's ``parameters``.

    A run that ``used`` a QPU before has the key of that one, unless several are named.
    """
    chosen = parameters.get("qpu")
    if used is not None and not QpuChoice.parse(chosen).has_several:
        chosen = used
    return solver if chosen is None else f"{solver}:{chosen}"
