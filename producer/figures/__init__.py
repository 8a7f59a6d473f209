"""Figures by matplotlib without a display: Q matrices and embeddings.

q_matrix.py     Q as a matrix, and as a graph of layers
embedding.py    chains on a chip, or one tile
chip_layout.py  positions of a chip's qubits
saving.py       writes figures to files
"""
