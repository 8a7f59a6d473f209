"""Figures by matplotlib without a display: Q matrices, embeddings and training curves.

q_matrix.py     Q as a matrix, and as a graph of layers
embedding.py    chains on a chip, or one tile
chip_layout.py  positions of a chip's qubits
chip_map.py    field errors and broken chains of the qubits of a chip
training_curves.py  loss and accuracy by epochs
saving.py       writes figures to files
"""
