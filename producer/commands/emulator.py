"""`annealq emulator`: an emulated solver on this machine that speaks D-Wave's protocol."""

from __future__ import annotations

import os
import sys
from itertools import compress
from pathlib import Path
from typing import Annotated

import typer

from producer.commands.shared.options import MAX_NUMBER
from schema.errors import ParameterError

_HELP = """Run a solver on this machine that speaks SAPI, D-Wave's protocol, in the foreground.

Point any D-Wave client at it: when it is ready it prints one line of JSON with its endpoint.

\b
    annealq emulator --port 8477 &
    export DWAVE_API_ENDPOINT=http://127.0.0.1:8477/sapi/v2/ DWAVE_API_TOKEN=any
    dwave ping

Chips: --chip advantage-system6, advantage-system4 (P16), advantage2-system1, advantage2-system2 (Z12) or
advantage2-system4 (Z6), once for each, are as large, as fast, as warm and as inexact as D-Wave documents of
the QPU of that name; second=advantage-system6 is another one of its kind.

Solvers: without --chip, emulator-pegasus (P16, 5,612 qubits, the default of clients) and emulator-zephyr
(Z12, 4,514 qubits), with the same errors but for drift; by --solver also emulator-pegasus-ideal,
emulator-zephyr-ideal and emulator-chimera (C16), `all` of these, or one of your own: tiny=pegasus:4:3:5 is
a P4 with 3 dead qubits and 5 missing couplers. Those have no errors unless --errors asks for them.

Twins: --twin 12 is the chip that run 12 was sampled on, with the errors that its stored reads show, to
rehearse the next run; --twin FILE.npz is one that `annealq embeddings twin` wrote.

Errors: --errors none, advantage or advantage2, or values such as h_persistent=0.02,chi=-0.02, or both. h
and J are wrong by a persistent, a drifting and a random part, by rounding and by slopes; strong couplers
bias their qubits; qubits are misread; charges differ from the timing model.

Reads: the Boltzmann distribution at --beta of h and J with their errors, by updates of qubits and of whole
chains. Shorter anneals are hotter, and break more chains. Not modelled: quantum dynamics, chains that
freeze out earlier the longer they are, anneal offsets, correlated reads. The guide of the emulator has the
sources.

Time: a QPU is busy for programming + reads x (anneal + readout + delay), first in, first out. --clock
scaled:10 makes that ten times faster, off takes no time; what is charged stays the same.

Ledger: GET /ledger lists every accepted problem and every charged microsecond.

Faults: POST JSON to /faults, or --fault at start, for clients that must survive them:

\b
    curl -s -H 'Content-Type: application/json' http://127.0.0.1:8477/faults -d '{"faults":
        [{"target": "submit", "kind": "reset", "when": "after", "count": 1}]}'
    target  submit, poll, list, answer, cancel, solvers; any (of these requests); problem
    kind    error (status, retry_after), reset, delay (delay_s), expire (the token: 401),
            corrupt (damage: base64, types, short, media, json, omit), hide (path: a field
            such as answer.timing.qpu_access_time or properties.problem_timing_data),
            lose (an answer, for good), gone (a problem, for good; status 410 or 404),
            purge (newest: how many problems are known; status), lag (delay_s: problems
            are listed later), deprecate (X-Deprecation: message, context, sunset)
            of target problem: fail (message, charged), charge (factor, spread),
            misprogram (spread: sd of errors as a share of the ranges of h and J)
    when    before or after a problem is accepted, for submit
    also    count, probability, duration_s

Other changes, in the same JSON: "clear": true; "offline", "online", "abandon" (offline, and all accepted
problems fail) and "regraph" (another working graph) with lists of solvers; "rename": {"OLD": "NEW"};
"max_queued": N; "shared_queue": true, for problems of all tokens to count; "gate_solver": true, or "qpu",
which the client takes for the largest QPU; "temperature": 1.1, for reads at 1.1 times the temperature of each
chip.

Example: `annealq emulator --chip advantage2-system4 --clock off`.
"""


def emulator(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8477,
    token: Annotated[
        str | None,
        typer.Option(envvar="ANNEALQ_EMULATOR_TOKEN", help="The only token to accept; default: any."),
    ] = None,
    solver: Annotated[
        list[str] | None, typer.Option("--solver", help="NAME, all, or NAME=TOPOLOGY:SIZE[:DEAD[:MISSING]].")
    ] = None,
    chip: Annotated[
        list[str] | None, typer.Option("--chip", help="A chip like one of D-Wave's QPUs, or NAME=CHIP.")
    ] = None,
    twin: Annotated[
        list[str] | None,
        typer.Option("--twin", help="The chip of a run, by its number, or a file of `embeddings twin`."),
    ] = None,
    errors: Annotated[
        str | None, typer.Option(help="none, advantage, advantage2, and NAME=VALUE with commas between them.")
    ] = None,
    graph_seed: Annotated[int, typer.Option(help="Decides which qubits are dead.")] = 0,
    clock: Annotated[str, typer.Option(help="real, off or scaled:FACTOR.")] = "real",
    samples: Annotated[
        str, typer.Option(help="annealed, or instant: random bits, for load tests.")
    ] = "annealed",
    beta: Annotated[
        float | None,
        typer.Option(help="Inverse temperature for h and J as programmed; default: that of each chip."),
    ] = None,
    sweeps: Annotated[int, typer.Option(help="Updates of every qubit in an anneal of 20 us.")] = 16,
    seed: Annotated[int, typer.Option(help="The same problem has the same reads under the same seed.")] = 0,
    threads: Annotated[int, typer.Option(help="Threads that draw samples.")] = 1,
    state: Annotated[Path | None, typer.Option(help="File that stores all of it across restarts.")] = None,
    keep: Annotated[int, typer.Option(help="Number of stored answers.")] = 2000,
    max_age: Annotated[
        int,
        typer.Option(help="Seconds that clients may cache a solver's definition; its status and load, 30."),
    ] = 0,
    raw_occurrences: Annotated[
        bool, typer.Option("--raw-occurrences", help="Put num_occurrences into raw answers too.")
    ] = False,
    max_queued: Annotated[int, typer.Option(help="Number of problems that a token may queue.")] = 1000,
    gate_solver: Annotated[
        bool, typer.Option("--gate-solver", help="List a gate-model solver, too.")
    ] = False,
    fault: Annotated[
        list[str] | None, typer.Option("--fault", help="target=submit,kind=error,status=503,count=1")
    ] = None,
) -> None:
    options = {
        "host": host, "port": port, "graph-seed": graph_seed, "clock": clock, "samples": samples,
        "beta": beta, "errors": errors, "sweeps": sweeps, "seed": seed, "threads": threads, "state": state,
        "keep": keep, "max-age": max_age, "max-queued": max_queued,
    }  # fmt: skip
    given = [f"--{name}={value}" for name, value in options.items() if value is not None]
    lists = {"solver": solver, "chip": chip, "fault": fault, "twin": [*map(_twin_file, twin or [])]}
    given += [f"--{name}={text}" for name, texts in lists.items() for text in texts or []]
    flags = {"--raw-occurrences": raw_occurrences, "--gate-solver": gate_solver}
    _become_emulator([*given, *compress(flags, flags.values())], token)


def _become_emulator(options: list[str], token: str | None) -> None:
    """Replace this process by an emulator with ``options``; ``token`` is the only one that it accepts."""
    command = [sys.executable, "-m", "worker.emulator", *options]
    # Not on the command line, where everybody on this machine could read it.
    secret = {"ANNEALQ_EMULATOR_TOKEN": token} if token else {}
    os.execvpe(command[0], command, {**os.environ, **secret})  # noqa: S606 - it takes this process's place


def _twin_file(text: str) -> str:
    """Return the file of the twin ``text``; for the number of a run it is fitted now."""
    if not text.isdecimal() or Path(text).exists():
        return text
    from producer.commands.shared.watching import fit_and_show
    from producer.context import database
    from producer.forecasts.twin import DEFAULT_PROBLEMS, home_file
    from producer.reports.solver import twin_text
    from producer.reports.terminal import screen
    from schema.settings import load

    settings, run = load(), int(text)
    if run > MAX_NUMBER:
        raise ParameterError(
            f"--twin {text:.40}: no run has such a number: `annealq runs list` shows all runs"
        )
    with database(settings):
        path = home_file(settings, run)
        screen().print(twin_text(fit_and_show(settings, run, path, DEFAULT_PROBLEMS), path))
    return str(path)


emulator.__doc__ = _HELP
