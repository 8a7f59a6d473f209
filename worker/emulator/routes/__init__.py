"""HTTP endpoints of the emulator.

gate.py         token, size limits, faults and errors of every request
solvers.py      SAPI's solvers
problems.py     SAPI's problems: submit, poll, cancel
control.py      outside of SAPI: the ledger, and faults on demand
damage.py       answers changed by faults
wire.py         media types, bodies, error objects
"""
