"""Stored embeddings and chips: queries, graphs of chips, and removal of unused embeddings.

queries.py  read-only queries
chips.py    a solver's working qubits and couplers
exchange.py embeddings as Ocean has them
chip_map.py what the stored reads of a chip say about its qubits
prune.py    removes unused embeddings
"""
