"""Places copies of one embedding on a chip, one at a time.

task.py        what a search for copies works on: model, chip, number of copies, time limit, random numbers
occupancy.py   which qubits are free, and which copy occupies the others
minorminer.py  chains of one copy, found by minorminer on a part of the chip
bounds.py      the fewest qubits that a model can need, by counting
time_limit.py  a time limit, and progress within it
"""
