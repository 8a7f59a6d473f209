"""Feature vectors of pictures by backbones, as they are stored.

backbones.py     backbones, loaded once in each process
feature_sets.py  the vectors of a batch or a training set, and the pictures that they are made of
waiting.py       who waits for them
"""
