"""The pages, one file for each; each is a function from a visit to a response.

runs.py      the list of runs
run.py       one run, its report and its buttons
image.py     one image, and the energies of its reads
solvers.py   the solvers with qubits, chips and embeddings
overview.py  queries behind the lists of runs and solvers
"""
