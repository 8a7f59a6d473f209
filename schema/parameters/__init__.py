"""What a user may choose about a run.

choices.py       what may be chosen by name: solvers, rules, ...
qpu_choice.py    which QPUs a run may use
rounds.py        further rounds of reads for uncertain images
declarations.py  declares parameters: limits, descriptions, errors
sampling.py      the parameters of a run
batch_sizes.py   the default size of its batches
sample_sets.py   which of its reads are wanted as a sample set
"""

from __future__ import annotations

from schema.parameters.choices import TRANSFERS, Gauge, Origin, Rule, Solver, Unembedding, Visible
from schema.parameters.declarations import (
    AUTO,
    Validated,
    fields_of,
    is_automatic,
    is_list,
    is_structured,
    limits_of,
    plain_type,
    scope,
    solver,
    words,
)
from schema.parameters.qpu_choice import QpuChoice, solver_key
from schema.parameters.rounds import MAX_READS, MAX_ROUNDS, Round
from schema.parameters.sample_sets import SampleSetRequest
from schema.parameters.sampling import MAX_BATCH_SIZE, MAX_SWEEPS, Parameters

__all__ = [
    "AUTO",
    "MAX_BATCH_SIZE",
    "MAX_READS",
    "MAX_ROUNDS",
    "MAX_SWEEPS",
    "TRANSFERS",
    "Gauge",
    "Origin",
    "Parameters",
    "QpuChoice",
    "Round",
    "Rule",
    "SampleSetRequest",
    "Solver",
    "Unembedding",
    "Validated",
    "Visible",
    "fields_of",
    "is_automatic",
    "is_list",
    "is_structured",
    "limits_of",
    "plain_type",
    "scope",
    "solver",
    "solver_key",
    "words",
]
