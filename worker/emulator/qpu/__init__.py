"""The modelled QPU: chips, timing, checks of problems and parameters, sampling.

chip.py         working graphs: topology, dead qubits, missing couplers
timing.py       QPU time of a problem, by D-Wave's timing model
presets.py      chips by name: graphs, ranges, times, temperatures, errors
solver.py       a chip as a solver: its properties and the errors of its working graph
parameters.py   sampling parameters of a problem, checked
schedules.py    anneal schedules and gains of h, checked
problem.py      h and J of a problem, decoded and checked
twin.py         chips with the errors that the reads of another one showed, from files
imperfections.py  errors of h, J and readout: persistent, drifting, random
sampling.py     reads: annealed at a stated temperature, or random
chains.py       updates of whole chains
answer.py       reads in SAPI's encoding
"""
