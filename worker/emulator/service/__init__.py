"""The emulated service without HTTP: queue, store, faults.

machine.py      all solvers of one emulator, with their queues
options.py      options at start
submission.py   one submitted problem, checked as a whole
queue.py        one QPU: first in, first out, busy for the time of each problem
store.py        accepted problems, answers and the ledger, in SQLite
faults.py       faults on demand
"""
