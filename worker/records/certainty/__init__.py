"""Reads and writes of what says how certain classifications are.

reliability.py  labelled images of a run by their probability
labelled.py     probabilities and sets of classes of the labelled images of a run
class_sets.py   stores sets of classes of images that are classified already
guarantees.py   what sets of classes are made of: the calibration of a run, and what was measured meanwhile
"""
