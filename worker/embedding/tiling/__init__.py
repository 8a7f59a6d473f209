"""Packs many copies of a small network side by side.

shapes.py       shipped shapes (embeddings up to a shift), and all places where they fit on free qubits
packing.py      packs shipped shapes around defects
periodic.py     finds shapes, packs them on a torus of unit cells, repeats the packing over the chip
heads.py        embeds a head: many visible units, each coupled to all class units
head_tiling.py  finds one head that repeats in rows
head_filling.py adds heads on free qubits, and replaces copies to add more
bit_graph.py    sets of qubits as bits of an integer, for annealing
"""
