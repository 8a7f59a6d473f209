"""What may be chosen by name: solvers, and how reads are made and become class scores."""

from __future__ import annotations

from enum import StrEnum


class Solver(StrEnum):
    """Solvers by name."""

    LOCAL = "local"  # simulated annealing on this machine's processors
    EXACT = "exact"  # exact Boltzmann draws, where the network's structure allows them
    EMULATOR = "emulator"  # a server on this machine that speaks D-Wave's protocol
    DWAVE = "dwave"  # a QPU, by D-Wave's own configuration file or environment

    @property
    def is_remote(self) -> bool:
        """Return whether problems are sent over D-Wave's protocol, embedded on the qubits of a chip."""
        return self in (Solver.EMULATOR, Solver.DWAVE)


class Rule(StrEnum):
    """Consensus rules: how reads become class scores."""

    LOWEST_ENERGY_MEAN = "lowest_energy_mean"  # mean over the reads of lowest energy
    ALL_READS_MEAN = "all_reads_mean"  # mean over every read
    BOLTZMANN = "boltzmann"  # mean weighted by exp(-beta E)


class Visible(StrEnum):
    """How the visible units are treated."""

    SAMPLED = "sampled"  # the annealer decides about them too
    FOLDED = "folded"  # their values are folded into the biases of their neighbours


class Unembedding(StrEnum):
    """How the qubits of a chain become one unit's value."""

    MAJORITY_VOTE = "majority_vote"  # what most of its qubits say; on in a draw, as in Ocean
    DISCARD = "discard"  # reads with a broken chain do not count for the image
    WEIGHTED_RANDOM = "weighted_random"  # drawn by the share of its qubits that are on
    MINIMIZE_ENERGY = "minimize_energy"  # broken chains last, each to the lower energy given the rest


class Gauge(StrEnum):
    """Which spins are reversed before a problem is sent, at random; its reads are stored as if none were."""

    NONE = "none"
    TILE = "tile"  # all units of a tile, or none of them
    UNIT = "unit"  # each unit on its own, all qubits of its chain


class Origin(StrEnum):
    """Where the weights of a network come from; stored in its row's `training`."""

    TRAINED = "trained"  # by a worker of this database
    IMPORTED = "imported"  # from a user's file
    SHIPPED = "shipped"  # with annealq
    EXPERIMENT = "experiment"  # trained by `annealq demo` or `reproduce`: used only where it is named


TRANSFERS = ("energy", "paper")  # how a network becomes Q: trained for it, or by softmax and copied
