"""Arrays as the bytes that tables store, each with a checksum.

arrays.py      images, labels, scores, chain breaks; digests
samples.py     raw reads of a problem
tiling.py      copies of an embedding
corruption.py  names the damaged row
"""
