"""A solver on this machine that speaks SAPI, D-Wave's protocol: `python -m worker.emulator`.

Nothing here knows annealq's own client: what judges it must not share its mistakes. The wire format was read
from the source of dwave-cloud-client 0.14.8, not seen on a real QPU.

    options.py      what can be asked for at start
    chip.py         working graphs: topology, dead qubits, missing couplers
    timing.py       what a problem takes of the QPU, and costs
    solver.py       a chip with its ranges, parameters and timing; the solvers by name
    parameters.py   the sampling parameters of a problem, checked
    problem.py      the h and J of a problem, checked
    sampling.py     reads: annealed at a stated temperature, or instant
    answer.py       reads in SAPI's encoding
    store.py        accepted problems, answers and the ledger, in SQLite
    queue.py        one QPU: first in, first out, busy for as long as the problem takes
    faults.py       what is to go wrong
    machine.py      all of it together, without HTTP
    wire.py         media types, bodies, errors
    routes/         HTTP endpoints
    server.py       the process
"""
