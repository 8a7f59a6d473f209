"""What verifying a bundle found out, and its text for terminals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from producer.stack.programs import RunningProgram
from schema.errors import AnnealqError

StartStep = Callable[[str, int], Callable[[int], None]]
"""Starts a step with its name and size; what it returns adds to its progress."""


@dataclass(frozen=True)
class ProofReport:
    """What is proven of a bundle.

    Attributes:
        root: of its files, in hex; empty if the file cannot be read as a bundle.
        signed_by: public key of its signature, in hex; None: it is not signed.
        wrong: parts, and what is wrong with each.
        proven: what was compared, or computed again.
        unproven: what the bundle claims and does not prove.
        figures: of the run, as computed again.
    """

    root: str
    signed_by: str | None
    wrong: list[tuple[str, str]]
    proven: list[str]
    unproven: list[str]
    figures: dict[str, Any]

    @property
    def is_right(self) -> bool:
        """Return whether nothing is wrong."""
        return not self.wrong

    def text(self) -> str:
        """Return it all for terminals."""
        lines = [f"root {self.root}"] if self.root else []
        lines += (
            ["not signed" if self.signed_by is None else f"signed by {self.signed_by}"] if self.root else []
        )
        lines += [f"wrong: {part} {what}" for part, what in self.wrong]
        lines += [f"proven: {each}" for each in self.proven]
        lines += [f"not proven: {each}" for each in self.unproven]
        if self.figures:
            known = {name: value for name, value in self.figures.items() if value is not None}
            lines.append(", ".join(f"{name} {_number(value)}" for name, value in known.items()))
        return "\n".join(lines)


def read(running: RunningProgram, start_step: StartStep) -> ProofReport:
    """Return what a program found out that was started; ``start_step`` shows its progress.

    Raises:
        InputError, AnnealqError: as `producer.stack.programs.run` says.
    """
    steps: dict[str, tuple[Callable[[int], None], int]] = {}
    for line in running.json_lines():
        if "findings" in line:
            found = line["findings"]
            return ProofReport(**found | {"wrong": [(part, what) for part, what in found["wrong"]]})
        name, done = line["step"], line["done"]
        add, before = steps.get(name) or (start_step(name, line["total"]), 0)
        add(done - before)
        steps[name] = add, done
    raise AnnealqError(f"the program {running.program} ended without a result: try again")


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4f}"
