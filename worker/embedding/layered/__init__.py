"""Constructs an embedding of a layered network along the lines of the lattice, without a search.

construct.py  the construction: choice of tracks, offsets, stacked copies
layers.py     which units run along columns and rows, read from the edges of the network
tracks.py     the lattice as tracks that cross
trim.py       repairs a draft, and removes qubits that no edge needs
"""
