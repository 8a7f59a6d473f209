"""What an embedding is and how it is used: graphs, lattices, biases on qubits, validity, majority vote.

graphs.py          interactions of a model; qubits and couplers of a solver
lattice.py         the ideal Pegasus, Zephyr or Chimera lattice of a solver
check.py           whether a tiling is valid on a solver
placement.py       biases of a model on the qubits and couplers of a chip
chain_biases.py    how the bias of a unit is shared by the qubits of its chain
chain_strength.py  how strongly the qubits of a chain are coupled
scale.py           one factor that brings all biases into a solver's ranges
gauges.py          reverses spins, and reads back
found.py           a tiling that a search found, and one that is stored
unembedding.py     from the reads of qubits to the values of units
"""
