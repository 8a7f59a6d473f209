"""Which reads of a run are wanted as a sample set of D-Wave's Ocean."""

from __future__ import annotations

from dataclasses import dataclass

from schema.errors import ParameterError
from schema.parameters.rounds import MAX_ROUNDS

_LARGEST = 2**31 - 1  # an SQL integer


@dataclass(frozen=True)
class SampleSetRequest:
    """The reads of one image, or of one problem, as units or as qubits.

    Attributes:
        image: index within the run.
        problem: number of a problem of the run that was sent to a solver with qubits.
        physical: as it was on the chip, instead of the network's units.
        round: of reads, 1 to 5, of the image; None: all that decided about its class.

    Raises:
        ParameterError: neither or both of image and problem are given, or a number is out of range.
    """

    image: int | None = None
    problem: int | None = None
    physical: bool = False
    round: int | None = None

    def __post_init__(self) -> None:
        if (self.image is None) == (self.problem is None):
            raise ParameterError("a sample set is of one image or of one problem: give either", "image")
        if self.image is not None and not 0 <= self.image <= _LARGEST:
            raise ParameterError(f"image {self.image} is out of range: images are numbered from 0", "image")
        if self.problem is not None and not 1 <= self.problem <= _LARGEST:
            raise ParameterError(
                f"problem {self.problem} is out of range: problems are numbered from 1", "problem"
            )
        if self.round is None:
            return
        if self.image is None:
            raise ParameterError("a problem is of one round of reads: leave out the round", "round")
        if not 1 <= self.round <= MAX_ROUNDS + 1:
            raise ParameterError(f"rounds are numbered 1 to {MAX_ROUNDS + 1}, not {self.round}", "round")

    @property
    def text(self) -> str:
        """Return it as text, which `parse` reads: `image/7/units/all`.

        >>> SampleSetRequest(problem=12, physical=True).text
        'problem/12/qubits/all'
        """
        what = f"image/{self.image}" if self.problem is None else f"problem/{self.problem}"
        return f"{what}/{'qubits' if self.physical else 'units'}/{self.round or 'all'}"

    @classmethod
    def parse(cls, text: str) -> SampleSetRequest:
        """Return the request whose `text` this is.

        >>> SampleSetRequest.parse('image/7/units/2')
        SampleSetRequest(image=7, problem=None, physical=False, round=2)
        """
        what, number, form, of_round = text.split("/")
        chosen = None if of_round == "all" else int(of_round)
        return cls(**{what: int(number)}, physical=form == "qubits", round=chosen)
