"""Finds an embedding, or as many disjoint copies as fit, by the algorithm that suits the network.

find.py     the entry: `find_embedding` chooses the algorithms, and checks what they give
shipped.py  tilings of ideal chips that are part of the package
repair.py   repairs copies that dead qubits have broken
filling.py  adds copies of any network on free qubits, by minorminer in windows
"""
