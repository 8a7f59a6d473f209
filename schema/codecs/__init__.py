"""Arrays as the bytes that tables store, each with a checksum.

arrays.py      images, labels, scores, chain breaks; digests
batches.py     the batches of a run
image_digests.py  digests of images, by which two data sets are compared
samples.py     raw reads of a problem
tiling.py      copies of an embedding
chip_graphs.py  qubits and couplers of a solver
nonconformity.py  how badly right classes conform to their reads, of a calibration
corruption.py  names the damaged row
"""
