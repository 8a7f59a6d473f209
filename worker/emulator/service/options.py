"""Options of the emulator at start."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from schema.errors import ParameterError
from worker.emulator.qpu import imperfections, presets, twin
from worker.emulator.qpu.presets import ChipModel
from worker.emulator.qpu.sampling import MODES, Sampling
from worker.emulator.service.faults import Fault, parse_option
from worker.emulator.service.queue import QpuClock

DEFAULT_PORT = 8477
TOKEN_VARIABLE = "ANNEALQ_EMULATOR_TOKEN"  # noqa: S105 - a name


@dataclass(frozen=True)
class EmulatorOptions:
    """Options of an emulator.

    Attributes:
        host, port: address to listen on; port 0 takes a free one.
        token: the only token accepted, None for any.
        solvers, chips: as `presets.models` takes them; none for the default ones.
        twins: files of twins, as `twin.load` takes them.
        errors: as `imperfections.parse` takes them, for all chips; None for those of each.
        graph_seed: decides which qubits are dead.
        clock: duration of a modelled second.
        sampling: how reads are drawn.
        threads: number of threads that draw reads, 1 to 64.
        state: file that outlives the process, None for none.
        keep: number of finished problems whose answers stay available, 1 or more.
        max_age_s: seconds for which clients may cache a solver's definition.
        raw_occurrences: whether raw answers carry ``num_occurrences``.
        max_queued: how many problems of a member may be queued, 0 or more.
        gate_solver: whether a gate-model solver is listed, too.
        faults: active from the start.

    Raises:
        ParameterError: a value is out of range.
    """

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    token: str | None = None
    solvers: tuple[str, ...] = ()
    chips: tuple[str, ...] = ()
    twins: tuple[Path, ...] = ()
    errors: str | None = None
    graph_seed: int = 0
    clock: QpuClock = field(default_factory=QpuClock)
    sampling: Sampling = field(default_factory=Sampling)
    threads: int = 1
    state: Path | None = None
    keep: int = 2000
    max_age_s: int = 0
    raw_occurrences: bool = False
    max_queued: int = 1000
    gate_solver: bool = False
    faults: tuple[Fault, ...] = ()

    def __post_init__(self) -> None:
        for name, low, high in (
            ("port", 0, 65_535),
            ("graph_seed", 0, 1 << 62),
            ("threads", 1, 64),
            ("keep", 1, 1_000_000_000),
            ("max_age_s", 0, 86_400),
            ("max_queued", 0, 1_000_000),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ParameterError(f"{name.replace('_', '-')} must be {low:,} to {high:,}, not {value:,}")
        if self.token is not None and not self.token.strip():
            raise ParameterError("the token must not be empty; leave it out to accept any")

    def models(self) -> dict[str, ChipModel]:
        """Return the chips by the names of their solvers.

        Raises:
            ParameterError: a solver, a chip or an error is unknown or malformed.
        """
        made = self._twins() if self.twins else {}
        if not made or self.solvers or self.chips:
            for name, model in presets.models(list(self.solvers), list(self.chips)).items():
                if name in made:
                    raise ParameterError(f"the solver {name} is there twice")
                made[name] = model
        if self.errors is None:
            return made
        return {
            name: replace(model, errors=imperfections.parse(self.errors, model.errors))
            for name, model in made.items()
        }

    def _twins(self) -> dict[str, ChipModel]:
        loaded = [twin.load(path) for path in self.twins]
        made = {one.name: one.model for one in loaded}
        if len(made) < len(loaded):
            raise ParameterError("two twins are of the same solver: start an emulator for each")
        return made


def parse(arguments: Sequence[str]) -> EmulatorOptions:
    """Parse options from a command line (``arguments``); without --token the token comes from the
    environment.

    Raises:
        ParameterError: a value is wrong. For an unknown option, argparse ends the process.
    """
    namespace = _parser().parse_args(arguments)
    return EmulatorOptions(
        host=namespace.host,
        port=namespace.port,
        token=namespace.token or os.environ.get(TOKEN_VARIABLE) or None,
        solvers=tuple(namespace.solver),
        chips=tuple(namespace.chip),
        twins=tuple(namespace.twin),
        errors=namespace.errors,
        graph_seed=namespace.graph_seed,
        clock=QpuClock.parse(namespace.clock),
        sampling=Sampling(namespace.samples, namespace.beta, namespace.sweeps, namespace.seed),
        threads=namespace.threads,
        state=namespace.state,
        keep=namespace.keep,
        max_age_s=namespace.max_age,
        raw_occurrences=namespace.raw_occurrences,
        max_queued=namespace.max_queued,
        gate_solver=namespace.gate_solver,
        faults=tuple(map(parse_option, namespace.fault)),
    )


def _parser() -> argparse.ArgumentParser:
    default = EmulatorOptions()
    parser = argparse.ArgumentParser(
        "python -m worker.emulator", description="A solver that speaks SAPI.", allow_abbrev=False
    )
    add = parser.add_argument
    add("--host", default=default.host)
    add("--port", type=int, default=default.port)
    add("--token", help=f"the only one that is accepted; or in {TOKEN_VARIABLE}")
    add("--solver", action="append", default=[], help="a name, all, or NAME=TOPOLOGY:SIZE[:DEAD[:MISSING]]")
    add("--chip", action="append", default=[], help=f"{', '.join(presets.CHIPS)}, or NAME=CHIP")
    add("--twin", action="append", type=Path, default=[], help="a file of `annealq embeddings twin`")
    add("--graph-seed", type=int, default=default.graph_seed)
    add("--clock", default="real", help="real, off or scaled:FACTOR")
    add("--samples", choices=MODES, default=default.sampling.mode)
    add("--beta", type=float, default=default.sampling.beta)
    add("--errors", help="none, advantage, advantage2, and NAME=VALUE with commas between them")
    add("--sweeps", type=int, default=default.sampling.sweeps)
    add("--seed", type=int, default=default.sampling.seed)
    add("--threads", type=int, default=default.threads)
    add("--state", type=Path)
    add("--keep", type=int, default=default.keep)
    add("--max-age", type=int, default=default.max_age_s)
    add("--raw-occurrences", action="store_true")
    add("--max-queued", type=int, default=default.max_queued)
    add("--gate-solver", action="store_true")
    add("--fault", action="append", default=[], help="target=submit,kind=error,status=503,count=1")
    return parser
