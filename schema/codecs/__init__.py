"""Arrays as the bytes that tables store, each with a checksum.

arrays.py      images, labels, scores, chain breaks; digests
samples.py     raw reads of a problem
tiling.py      copies of an embedding
nonconformity.py  how badly right classes conform to their reads, of a calibration
corruption.py  names the damaged row
"""
