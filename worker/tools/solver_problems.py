"""Writes down what a solver knows of annealq's problems, for whoever may not talk to solvers itself.

    python -m worker.tools.solver_problems emulator < ids

Standard input: one JSON list of the solver's ids whose charges are wanted. Standard output: one JSON object a
line, {"label", "sapi_id", "status"} for each problem, with "charged_us" where it is known. An error is one
line on standard error, and exit code 1.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace

from schema.errors import AnnealqError
from schema.parameters import solver as named
from worker.process.settings import load
from worker.records.problems import LABEL
from worker.sapi import problems
from worker.sapi.client import connect
from worker.sapi.connections import SolverConnections

_COMPLETED = "COMPLETED"
_RETRIES = 4  # a person waits


def lines(name: str, charged: set[str]) -> Iterator[dict[str, object]]:
    """Every problem of ours that a solver has. charged: ids whose charge is asked for.

    Raises:
        Refused, Unavailable: as `connect` and `listing` say.
    """
    client = connect(replace(SolverConnections(load()).access(named(name)), retries=_RETRIES))
    try:
        for one in problems.find_all(client, LABEL):
            line: dict[str, object] = {"label": one.label, "sapi_id": one.sapi_id, "status": one.status}
            if one.sapi_id in charged and one.status == _COMPLETED:
                line["charged_us"] = problems.charge_us(client, one.sapi_id)
            yield line
    finally:
        client.close(wait=False)


def main() -> None:
    charged = set(json.load(sys.stdin))
    try:
        for line in lines(sys.argv[1], charged):
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
    except AnnealqError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
