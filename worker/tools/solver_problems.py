"""Lists annealq's problems at a solver as JSON lines, for processes without the solver libraries.

    python -m worker.tools.solver_problems emulator < ids

Standard input: one JSON list of the solver's ids whose charges are wanted. Standard output: one JSON object a
line, {"label", "sapi_id", "status"} for each problem, with "charged_us" where it was asked for and is known.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace

from schema.parameters import solver as solver_named
from worker.process.settings import load
from worker.records.problems import LABEL
from worker.sapi import problems
from worker.sapi.client import connect
from worker.sapi.connections import SolverConnections
from worker.tools import entry

_COMPLETED = "COMPLETED"
_RETRIES = 4  # a person is waiting


def lines(name: str, charged: set[str]) -> Iterator[dict[str, object]]:
    """Yield every problem of ours at solver ``name``, with its charge if its id is in ``charged``.

    Raises:
        Refused, Unavailable: as `connect` and `problems.find_all` say.
    """
    client = connect(replace(SolverConnections(load()).access(solver_named(name)), retries=_RETRIES))
    try:
        for problem in problems.find_all(client, LABEL):
            line: dict[str, object] = {
                "label": problem.label,
                "sapi_id": problem.sapi_id,
                "status": problem.status,
            }
            if problem.sapi_id in charged and problem.status == _COMPLETED:
                line["charged_us"] = problems.charge_us(client, problem.sapi_id)
            yield line
    finally:
        client.close(wait=False)


def main() -> None:
    """Print a line for each problem of the solver that the command line names."""
    for line in lines(sys.argv[1], set(json.load(sys.stdin))):
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    entry.run(main)
