"""Fits a model of a chip to the stored reads of a night: a twin, whose problems can be rehearsed on.

night.py        the reads of one embedding, unit by unit, as they were on the chip
fields.py       field errors of chains and errors of couplings, by maximum pseudolikelihood
temperature.py  the inverse temperature, and the share of qubits that are read wrongly
drift.py        how field errors change from problem to problem
by_qubit.py     the errors of chains, shared among qubits and couplers
fit.py          all of these together
"""
