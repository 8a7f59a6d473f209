"""Feature vectors of pictures: computed ahead by a use case of their own, or when they are missing.

compute_features.py  those of a batch or a training set      (COMPUTE_FEATURES)
inputs.py            what a network takes: the pixels of a batch, or its vectors
vectors.py           what a backbone makes of pictures
"""
