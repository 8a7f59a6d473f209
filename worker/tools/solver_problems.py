"""Lists annealq's problems at a solver as JSON lines, for processes without the solver libraries.

    python -m worker.tools.solver_problems emulator < own

Standard input: a JSON object with the `keys` of a database, and those of its `labels` that lack them.
Standard output: one JSON object a line, {"label", "sapi_id", "status", "own"} for each problem, with
"charged_us" if it is of this database and its charge is known.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

from schema.parameters import solver as solver_named
from schema.settings import load_worker
from worker.records.problems import KEYED_LABEL, LABEL
from worker.sapi import problems
from worker.sapi.client import connect
from worker.sapi.connections import SolverConnections
from worker.sapi.errors import mapping_errors
from worker.tools import entry

_CHARGED = frozenset({"COMPLETED", "FAILED"})
_RETRIES = 4  # a person is waiting


def lines(name: str, keys: Sequence[str], labels: set[str]) -> Iterator[dict[str, object]]:
    """Yield every problem of annealq at solver ``name``, with the charges of those of one database.

    Args:
        keys: of the database; they begin its labels.
        labels: further labels of the database.

    Raises:
        Refused, Unavailable: as `connect` and `problems.find_all` say.
    """
    client = connect(replace(SolverConnections(load_worker()).access(solver_named(name)), retries=_RETRIES))
    prefixes = tuple(LABEL + key for key in keys)
    try:
        with mapping_errors():
            properties = {str(each.name): each.properties for each in client.get_solvers(qpu=True)}
        for problem in problems.find_all(client, LABEL):
            own = problem.label in labels
            own |= len(problem.label) == KEYED_LABEL and problem.label.startswith(prefixes)
            line: dict[str, object] = {
                "label": problem.label,
                "sapi_id": problem.sapi_id,
                "status": problem.status,
                "own": own,
            }
            if own and problem.status in _CHARGED:
                line["charged_us"] = problems.charge_us(
                    client, problem.sapi_id, properties.get(problem.solver, {})
                )
            yield line
    finally:
        client.close(wait=False)


def main() -> None:
    """Print a line for each problem of the solver that the command line names."""
    own = json.load(sys.stdin)
    for line in lines(sys.argv[1], own["keys"], set(own["labels"])):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    entry.run(main)
