"""Finds chains of qubits for the units of a model (minor embedding), and places models on chips.

The entry is `search.find.find_embedding`. "Tiles" are disjoint copies of one embedding that are sampled in
one problem, an image in each: Ocean's parallel embeddings (``ParallelEmbeddingComposite``). Everything here
is pure: no database, no network. Found tilings are stored by `worker/records/embeddings.py`.

Rooms, each imports only those below it:

    search/   the entry; shipped tilings, repair, filling of free qubits by minorminer
    tiling/   many copies of a small network: periodic packing, packing around defects, heads
    layered/  one copy of a layered network, constructed along the lines of the lattice
    copies/   occupied and free qubits, bounds by counting, a call of minorminer, the time limit
    model/    graphs, lattices, validity of a tiling, biases on qubits, majority vote
    ideal/    data: tilings of ideal chips, and shapes for packing

Which algorithm, when, and what it needs:

    shipped tiling     P16 and Z12; `mnist` sampled and folded        search/shipped.py
    repair             an earlier tiling with copies that are broken  search/repair.py
    layered            over 60 units, in layers (`conv358`)           layered/construct.py
    heads              visible units coupled to all class units only  tiling/head_tiling.py, head_filling.py
                       (`mnist`); Pegasus, or Zephyr with 4 tracks
    periodic packing   other small networks, 10 copies or more;       tiling/periodic.py
                       lattices with 8 qubits in a cell
    packing of shapes  networks with shipped shapes (folded `mnist`,  tiling/packing.py, shapes.py
                       10 units), around defects
    minorminer         any network: one copy on the whole chip, and   copies/minorminer.py,
                       in windows of free qubits                      search/filling.py

Measured on ideal chips, one core; the commands are those of ``tests/benchmarks/test_embeddings.py``, run by
``python -m pytest -m bench -s``:

    `conv358`, one copy      P16 1,557 qubits in 1.0 s, Z12 1,212 in 2.1 s: with ``-k layered``
                             (minorminer: P16 2,019 in 243 s)
    `mnist`, copies          P16 35, Z12 40 (Ocean's find_multiple_embeddings: 28, 27)
    `mnist` folded, copies   P16 330, Z12 279, shipped (Ocean: 222, 199)

Results are the same for one seed unless the time limit ends a search.
"""
