"""Models, reads and embeddings in the forms of D-Wave's Ocean, and a sampler with Ocean's interface.

models.py       energy functions as binary quadratic models (BQMs), and their files
sample_sets.py  reads as a `dimod.SampleSet`, with the fields that Ocean's composites write
on_chip.py      a problem as it was on the chip: qubits, h and J
embedding_warnings.py  what Ocean's composites warn about
embeddings.py   embeddings as Ocean writes them: a list of qubits for each variable
heads.py        recognises BQMs that have the shape of a network
sampler.py      a `dimod.Sampler` over the annealers of this process
chips.py        a stored chip as a `dimod.Sampler` that describes its qubits, and cannot sample
"""
