"""Stored embeddings and chips: queries, graphs of chips, and removal of unused embeddings.

queries.py  read-only queries
chips.py    a solver's working qubits and couplers
prune.py    removes unused embeddings
"""
