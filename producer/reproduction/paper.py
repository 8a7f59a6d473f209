"""What Higham and Bedford published (arXiv 2107.08710), as data: each figure with where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class PublishedTable:
    """A table of class scores, 0 to 100: one row for each true class, one image each.

    Consensus scores are means over the 100 reads of lowest energy out of 1,000.
    """

    name: str
    network: str
    scores: tuple[tuple[int, ...], ...]
    remark: str

    @property
    def source(self) -> str:
        return f"Higham and Bedford, {self.name}"


@dataclass(frozen=True)
class PublishedTimes:
    """Microseconds for one image; the QPU's is one read, without programming it."""

    source: str
    classical_us: float
    anneal_us: float
    readout_us: float
    delay_us: float

    @property
    def read_us(self) -> float:
        """Return anneal, readout and delay of one read, in microseconds."""
        return self.anneal_us + self.readout_us + self.delay_us


TABLE_1: Final = PublishedTable(
    name="Table 1",
    network="digits5x5",
    scores=(
        (100, 0, 4, 0, 17),
        (0, 100, 0, 68, 0),
        (0, 0, 100, 2, 0),
        (0, 0, 0, 100, 86),
        (47, 0, 27, 22, 100),
    ),
    remark="All digits show dominance in the correct class.",
)

TABLE_2: Final = PublishedTable(
    name="Table 2",
    network="mnist",
    scores=(
        (98, 1, 29, 0, 0, 0, 17, 60, 0, 0),
        (10, 100, 0, 0, 0, 0, 0, 100, 0, 0),
        (36, 100, 0, 0, 0, 0, 0, 100, 0, 0),
        (0, 14, 1, 86, 0, 79, 2, 29, 0, 0),
        (55, 1, 2, 12, 0, 14, 20, 1, 31, 46),
        (0, 0, 0, 69, 0, 100, 40, 0, 0, 0),
        (88, 0, 0, 0, 0, 100, 100, 0, 0, 0),
        (0, 100, 0, 0, 0, 0, 0, 100, 0, 0),
        (96, 38, 0, 0, 0, 0, 0, 50, 42, 0),
        (0, 100, 0, 0, 0, 0, 0, 100, 0, 0),
    ),
    remark="The text names 4 digits as right, the caption 6: ties are counted differently.",
)

TIMES: Final = PublishedTimes(
    source="Higham and Bedford, section 4.3",
    classical_us=8000.0,
    anneal_us=20.0,
    readout_us=127.0,
    delay_us=21.0,
)
