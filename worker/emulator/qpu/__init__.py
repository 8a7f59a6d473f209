"""The modelled QPU: chips, timing, checks of problems and parameters, sampling.

chip.py         working graphs: topology, dead qubits, missing couplers
timing.py       QPU time of a problem, by D-Wave's timing model
solver.py       a chip with its ranges, parameters and timing; the solvers by name
parameters.py   sampling parameters of a problem, checked
schedules.py    anneal schedules and gains of h, checked
problem.py      h and J of a problem, decoded and checked
sampling.py     reads: annealed at a stated temperature, or random
answer.py       reads in SAPI's encoding
"""
