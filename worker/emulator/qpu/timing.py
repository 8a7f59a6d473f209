"""QPU time of a problem, and its charge.

The model is D-Wave's timing model 1.0 as dwave-cloud-client computes it in `estimate_qpu_access_time`, in the
same order of operations, so that estimate and charge agree to the last bit:

    access = programming + its thermalization
             + reads x (anneal + readout + delay + max(readout's thermalization, decorrelation))
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from worker.emulator.qpu.parameters import ProblemParameters

# Readout time over qubits of Advantage_system4.1 in August 2022, as dwave-cloud-client has it in its mocks:
# log10 of qubits, and log10 of microseconds.
_QUBITS = (
    0.0,
    0.7699665876947938,
    1.7242758696010096,
    2.711975459489206,
    3.1639057672764026,
    3.750276915153992,
)
_READOUT = (1.539131714800995, 1.8726623164229292, 2.125631787097315, 2.332672340068556, 2.371606651233025,
            2.3716219271760215)  # fmt: skip

_CURVE_QUBITS = 5627

# D-Wave documents 10 to 20 ms outside of the QPU for each problem; it is not charged.
_OVERHEAD_US = 15_000.0


@dataclass(frozen=True)
class Timing:
    """The times of one problem in microseconds: SAPI's field names without ``qpu_`` and ``_time``."""

    programming: float
    sampling: float
    access: float
    anneal_per_sample: float
    readout_per_sample: float
    delay_per_sample: float
    access_overhead: float

    def scaled(self, access_us: float) -> Timing:
        """Return the times of a problem that took ``access_us`` in all, in proportion."""
        factor = access_us / self.access
        if factor == 1:
            return self
        programming, sampling = self.programming * factor, self.sampling * factor
        return replace(self, programming=programming, sampling=sampling, access=access_us)

    def fields(self) -> dict[str, float]:
        """Return the ``timing`` object of an answer."""
        return {
            "qpu_sampling_time": self.sampling,
            "qpu_anneal_time_per_sample": self.anneal_per_sample,
            "qpu_readout_time_per_sample": self.readout_per_sample,
            "qpu_access_time": self.access,
            "qpu_access_overhead_time": self.access_overhead,
            "qpu_programming_time": self.programming,
            "qpu_delay_time_per_sample": self.delay_per_sample,
            "total_post_processing_time": 1.0,
            "post_processing_overhead_time": 1.0,
        }


@dataclass(frozen=True)
class TimingModel:
    """A solver's ``problem_timing_data``; all times in microseconds."""

    typical_programming_time: float
    readout_time_model_parameters: tuple[float, ...]
    qpu_delay_time_per_sample: float
    reverse_annealing_with_reinit_prog_time_delta: float = 0.0
    reverse_annealing_without_reinit_prog_time_delta: float = 5.55
    default_programming_thermalization: float = 1000.0
    default_annealing_time: float = 20.0
    reverse_annealing_with_reinit_delay_time_delta: float = -4.5
    reverse_annealing_without_reinit_delay_time_delta: float = -1.5
    default_readout_thermalization: float = 0.0
    decorrelation_max_nominal_anneal_time: float = 2000.0
    decorrelation_time_range: tuple[float, float] = (500.0, 10000.0)
    readout_time_model: str = "pwl_log_log"
    version: str = "1.0.0"

    def data(self) -> dict[str, Any]:
        """Return the property ``problem_timing_data``."""
        return asdict(self)

    def readout_us(self, qubits: int) -> float:
        """Return the microseconds of one readout of ``qubits`` qubits."""
        half = len(self.readout_time_model_parameters) // 2
        log_qubits, times = (
            self.readout_time_model_parameters[:half],
            self.readout_time_model_parameters[half:],
        )
        return float(pow(10, np.interp(np.log10(qubits), log_qubits, times)))

    def of(self, qubits: int, parameters: ProblemParameters) -> Timing:
        """Return the times of a problem on ``qubits`` active qubits with ``parameters``."""
        programming_extra, delay_extra = self._reverse(parameters)
        programming = self.typical_programming_time + programming_extra + self._programming_pause(parameters)
        anneal = parameters.anneal_us or self.default_annealing_time
        readout = self.readout_us(qubits)
        pause = self._pause(parameters, anneal)
        per_read = anneal + readout + self.qpu_delay_time_per_sample + delay_extra + pause
        sampling = parameters.reads * per_read
        return Timing(
            programming=programming,
            sampling=sampling,
            access=sampling + programming,
            anneal_per_sample=anneal,
            readout_per_sample=readout,
            delay_per_sample=self.qpu_delay_time_per_sample + delay_extra + pause,
            access_overhead=_OVERHEAD_US,
        )

    def duration_us(self, qubits: int, parameters: ProblemParameters) -> float:
        """Return what D-Wave compares with the limit of a problem's run time: less than the access time.

        Only the times that a user sets count, and the readout:
        (anneal + pause after the read + readout) x reads + pause after programming.

        Args:
            qubits: number of active qubits.
            parameters: of the problem.
        """
        anneal = parameters.anneal_us or self.default_annealing_time
        per_read = anneal + self._pause(parameters, anneal) + self.readout_us(qubits)
        return per_read * parameters.reads + self._programming_pause(parameters)

    def _programming_pause(self, parameters: ProblemParameters) -> float:
        return parameters.programming_thermalization_us or self.default_programming_thermalization

    def _pause(self, parameters: ProblemParameters, anneal: float) -> float:
        rest = parameters.readout_thermalization_us or self.default_readout_thermalization
        return max(rest, self._decorrelation(anneal) if parameters.reduce_intersample_correlation else 0)

    def _reverse(self, parameters: ProblemParameters) -> tuple[float, float]:
        """Return the times that reverse annealing adds to programming and to each delay."""
        if not parameters.reverse:
            return 0, 0
        if parameters.reinitialize_state:
            return (
                self.reverse_annealing_with_reinit_prog_time_delta,
                self.reverse_annealing_with_reinit_delay_time_delta,
            )
        return (
            self.reverse_annealing_without_reinit_prog_time_delta,
            self.reverse_annealing_without_reinit_delay_time_delta,
        )

    def _decorrelation(self, anneal: float) -> float:
        low, high = self.decorrelation_time_range
        return anneal / self.decorrelation_max_nominal_anneal_time * (high - low) + low


def readout_curve(shortest_us: float, longest_us: float, qubits: int = _CURVE_QUBITS) -> tuple[float, ...]:
    """Return the known curve, scaled to the shortest and the longest time, and to a chip of ``qubits``
    qubits.
    """
    times = np.interp(_READOUT, (_READOUT[0], _READOUT[-1]), np.log10((shortest_us, longest_us)))
    logs = (
        _QUBITS if qubits == _CURVE_QUBITS else np.multiply(_QUBITS, np.log10(qubits) / _QUBITS[-1]).tolist()
    )
    return (*logs, *times.tolist())


def advantage2(
    programming_us: float, longest_us: float, delay_us: float, qubits: int = _CURVE_QUBITS
) -> TimingModel:
    """Return the timing of an Advantage2: reads need no decorrelation.

    Args:
        programming_us: time to program the chip.
        longest_us: of the readout of all ``qubits``.
        delay_us: after each read.
        qubits: number of working qubits.
    """
    curve = readout_curve(17.0, longest_us, qubits)
    return TimingModel(programming_us, curve, delay_us, decorrelation_time_range=(0.0, 0.0))


# Programming, readout and delay of the QPUs as D-Wave documents them; decorrelation, reverse annealing and
# all of the D-Wave 2000Q as in the client's mocks.
ADVANTAGE = TimingModel(14_200.0, readout_curve(18.0, 173.0), 20.5)
ADVANTAGE2 = advantage2(24_500.0, 95.0, 20.6)
DWAVE_2000Q = TimingModel(
    10_536.81,
    (0.0, 3.30984300471607, 2.2975416678181597, 2.2975416678181597),
    20.54,
    reverse_annealing_without_reinit_prog_time_delta=359.58,
    reverse_annealing_with_reinit_delay_time_delta=586.38,
    reverse_annealing_without_reinit_delay_time_delta=-5.0,
)
