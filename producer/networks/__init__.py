"""Networks on the producer's side.

description.py    a network without its weights: layers, names of classes, metrics
chosen.py         what a run needs to know of its network
choose.py         finds the network that a user means, or installs a shipped one
shipped.py        networks that come with annealq
bundle.py         files of a complete network, and their import
versions.py       inserts a row for each content, as the next version of its name
compatibility.py  checks whether a network can take images
chip_limits.py    checks whether the known chips of a solver can take a run
starter.py        writes a first architecture for images
training.py       enqueues the training of a network
queries.py        rows as dataclasses
q_matrix.py       the Q matrix of a network
"""
