"""One problem of a POST, checked as a whole; later its reads are drawn from it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from worker.emulator.qpu import parameters, problem
from worker.emulator.qpu.answer import encode
from worker.emulator.qpu.errors import Rejected
from worker.emulator.qpu.imperfections import misprogrammed
from worker.emulator.qpu.sampling import Sampling, draw, random_spins, schedule
from worker.emulator.qpu.solver import GATE_SOLVER
from worker.emulator.service.store import CheckedProblem

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from worker.emulator.qpu.parameters import ProblemParameters
    from worker.emulator.qpu.problem import DecodedProblem
    from worker.emulator.qpu.solver import EmulatedSolver
    from worker.emulator.qpu.timing import Timing
    from worker.emulator.service.store import AcceptedProblem

_MAX_LABEL = 1024
# The parameter that changes the form of an answer, not its reads.
_PRESENTATION = {"answer_mode"}
_FIELDS = {"solver", "data", "type", "params", "label"}


@dataclass(frozen=True, eq=False)
class Checked:
    """A problem that its solver accepts. key: >= 0, a digest of everything that decides the reads except the
    seed.
    """

    solver: EmulatedSolver
    problem: DecodedProblem
    parameters: ProblemParameters
    scale: float
    timing: Timing
    key: int

    def answer(
        self, sampling: Sampling, entry: AcceptedProblem, stop: Callable[[], bool], *, count_raw: bool
    ) -> bytes:
        """Draw the reads of ``entry``, which this problem is, as ``sampling`` says, and encode them.

        See `sampling.draw` for ``stop``, `answer.encode` for ``count_raw``.
        """
        spins = self._reads(sampling, entry, stop)
        size, timing = self.solver.chip.size, self.timing.scaled(entry.access_us)
        return encode(self.problem, spins, self.parameters, timing, size, count_raw=count_raw)

    def _reads(
        self, sampling: Sampling, entry: AcceptedProblem, stop: Callable[[], bool]
    ) -> NDArray[np.int8]:
        model, active = self.solver.model, self.problem.active
        random = sampling.stream(self.key, entry.number if model.errors.h_drift else 0)
        if sampling.mode == "instant":
            return random_spins(self.parameters.reads, len(active), random)
        programmed = self.solver.imperfections.program(self.problem, self.scale, random, entry.number)
        if entry.misprogrammed:
            again = sampling.stream(self.key, entry.number)
            programmed = misprogrammed(programmed, entry.misprogrammed, self.solver.limits, again)
        sweeps = schedule(sampling, sampling.beta or model.beta, self.parameters)
        spins = draw(programmed, active, self.parameters, sweeps, random, stop)
        self.solver.imperfections.misread(spins, random)
        return spins


def check(solver: EmulatedSolver, kind: object, data: object, params: object) -> Checked:
    """Check ``data`` and ``params`` of a problem of type ``kind``; raise Rejected when ``solver`` cannot take
    it.
    """
    sampling_parameters = parameters.check(params, solver.limits)
    decoded = problem.decode(data, kind, solver.chip)
    _check_initial_state(decoded, sampling_parameters.initial_state)
    qubits = len(decoded.active)
    duration = solver.timing.duration_us(qubits, sampling_parameters)
    _, longest = solver.limits["problem_run_duration_range"]
    if duration > longest:
        raise Rejected(
            "Upper limit on user-specified timing related parameters exceeded:"
            f" {duration:.0f} > {longest:.0f}; ask for fewer num_reads or a shorter annealing_time"
        )
    timing = solver.timing.of(qubits, sampling_parameters)
    factor = problem.scale(decoded, sampling_parameters, solver.limits)
    return Checked(solver, decoded, sampling_parameters, factor, timing, _key(solver, kind, data, params))


def read(
    item: object, solvers: Mapping[str, EmulatedSolver], member: str, *, gate_solver: bool = False
) -> tuple[CheckedProblem, Checked]:
    """Read one problem ``item`` of a POST of ``member`` for one of ``solvers``.

    Raises:
        Rejected: the problem is refused, as is every one for the gate-model solver, if ``gate_solver`` lists
            it.
    """
    if not isinstance(item, Mapping):
        raise Rejected(f"a problem must be an object, not {type(item).__name__}")
    if unknown := set(item) - _FIELDS:
        raise Rejected(
            f"a problem has no field {min(unknown)!r:.80}; available: {', '.join(sorted(_FIELDS))}"
        )
    if gate_solver and isinstance(item.get("solver"), Mapping) and item["solver"].get("name") == GATE_SOLVER:
        raise Rejected(
            f"Problem type ({item.get('type')!s:.80}) is not supported by the solver; it takes qcdl"
        )
    solver = _solver(item.get("solver"), solvers)
    label = _label(item.get("label"))
    data: Any = item.get("data")
    params = item.get("params")
    checked = check(solver, item.get("type"), data, params)
    submission = CheckedProblem(
        id=str(uuid.uuid4()),
        member=member,
        solver=solver.name,
        graph_id=solver.chip.graph_id,
        type=str(item["type"]),
        label=label,
        reads=checked.parameters.reads,
        qubits=len(checked.problem.active),
        access_us=checked.timing.access * _charge_factor(checked),
        data=orjson.dumps({name: data[name] for name in ("format", "lin", "quad", "offset") if name in data}),
        params=orjson.dumps(params or {}),
    )
    return submission, checked


def _charge_factor(checked: Checked) -> float:
    """Return the factor by which the QPU time differs from the timing model; the problem decides it."""
    spread = checked.solver.model.errors.charge
    if not spread:
        return 1.0
    return 1 + spread * float(np.random.default_rng(checked.key).normal())


def _solver(identity: object, solvers: Mapping[str, EmulatedSolver]) -> EmulatedSolver:
    name, version = (
        (identity.get("name"), identity.get("version")) if isinstance(identity, Mapping) else (None, None)
    )
    if not isinstance(name, str):
        raise Rejected("solver must be an object with a name")
    if name not in solvers:
        raise Rejected(
            f"Solver does not exist or apitoken does not have access: {name!r:.80};"
            f" available: {', '.join(solvers)}",
            404,
        )
    solver, graph_id = solvers[name], version.get("graph_id") if isinstance(version, Mapping) else None
    if graph_id is not None and graph_id != solver.chip.graph_id:
        raise Rejected(
            f"the graph of {name} is {solver.chip.graph_id}, not {graph_id!r:.80}; fetch the solver again"
        )
    return solver


def _label(label: object) -> str | None:
    if label is None:
        return None
    if not isinstance(label, str) or len(label) > _MAX_LABEL or "\0" in label:
        raise Rejected(f"label must be text of at most {_MAX_LABEL:,} characters without NUL")
    return label


def _check_initial_state(decoded: DecodedProblem, state: NDArray[np.int8] | None) -> None:
    if state is not None and (state[decoded.active] == parameters.UNUSED).any():
        raise Rejected(f"initial_state must not be {parameters.UNUSED} for a qubit that the problem uses")


def _key(solver: EmulatedSolver, kind: object, data: Any, params: Any) -> int:
    digest = hashlib.sha256(f"{solver.chip.graph_id} {kind} {data['lin']} {data['quad']} ".encode())
    decisive = {name: value for name, value in (params or {}).items() if name not in _PRESENTATION}
    digest.update(orjson.dumps(decisive, option=orjson.OPT_SORT_KEYS))
    return int.from_bytes(digest.digest()[:16], "big")
