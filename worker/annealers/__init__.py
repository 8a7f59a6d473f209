"""Annealers in this process: reads of a model, without a QPU.

base.py       their interface, and what they share
simulated.py  simulated annealing: works for every model
heads.py      its sweeps for models of two layers, all reads of some images at once
exact.py      independent draws from the Boltzmann distribution, for small networks
forest.py     the trees that `exact.py` sums over
local.py      draws the reads of images by them, as bytes
"""
