"""Stored reads as sample sets of D-Wave's Ocean, for whoever asks for them (COMPUTE_SAMPLE_SETS).

rows.py     reads what is stored of a run's images and problems
build.py    builds the sample set of an image or of a problem
compute.py  answers those that the API was asked for
"""
