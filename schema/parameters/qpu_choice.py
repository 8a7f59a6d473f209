"""Which QPUs a run may use, as its parameter `qpu` names them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schema.errors import ParameterError

_ANY, _CHEAPEST = "any", "cheapest"
_WORDS = {_ANY, _CHEAPEST}


@dataclass(frozen=True)
class QpuChoice:
    """The QPUs that a run may use, as its parameter `qpu` names them.

    Attributes:
        names: of solvers. Several share the batches of a run, and if all else is equal the first one gets a
            batch; with one, a run waits while it is offline.
        features: of a solver, as in D-Wave's client; None: as its configuration says, or the largest QPU.
        among_all: all QPUs of the service that can take the network.
        cheapest: of these, the one that takes the least QPU time for a batch.
    """

    names: tuple[str, ...] = ()
    features: Mapping[str, Any] | None = None
    among_all: bool = False
    cheapest: bool = False

    @property
    def has_several(self) -> bool:
        """Return whether each batch of a run is given to a QPU on its own."""
        return self.among_all or len(self.names) > 1

    @classmethod
    def parse(cls, text: str | None) -> QpuChoice:
        """Return the choice of ``text``: `NAME`, `NAME,OTHER`, `any`, `cheapest`, features as JSON, or None.

        Raises:
            ParameterError: the names or the features are malformed.
        """
        if text is None:
            return cls()
        if not text.lstrip().startswith("{"):
            names = tuple(name.strip() for name in text.split(","))
            if not all(names):
                raise ParameterError(f"qpu is {text!r}: give one or more names with commas between them")
            if words := _WORDS & set(names):
                if len(names) > 1:
                    raise ParameterError(f"qpu is {text!r}: `{min(words)}` stands alone, without other names")
                return cls(features={}, among_all=True, cheapest=names == (_CHEAPEST,))
            return cls(tuple(dict.fromkeys(names)))
        try:
            features = json.loads(text)
        except ValueError as error:
            raise ParameterError(
                f"features of a solver must be one JSON object; {text!r} is not: {error}"
            ) from None
        return cls(features=features)

    def after(self, used: str | None) -> QpuChoice:
        """Return the choice of a batch whose QPU is ``used``: it stays there; None: this choice."""
        return self if used is None else QpuChoice((used,))


def solver_key(solver: str, parameters: Mapping[str, Any], used: str | None = None) -> str:
    """Return the key of a ``solver``: its kind, with the QPU names or features in a run's ``parameters``.

    A run that ``used`` a QPU before has the key of that one, unless several share its batches.
    """
    chosen = parameters.get("qpu")
    if used is not None and not QpuChoice.parse(chosen).has_several:
        chosen = used
    return solver if chosen is None else f"{solver}:{chosen}"
