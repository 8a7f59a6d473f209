"""Calibrations: enqueued as a grid of runs, chosen for a run, read back.

grid.py        parameters that the runs of a calibration differ in
budget.py      how many images a budget of QPU time suffices for
enqueue.py     the rows of a calibration, and the choice of one for a run
unfinished.py  finds one that was interrupted, so that it continues
overlap.py     finds images that two data sets share
queries.py     reads calibrations
background.py  warns of images whose brightness is the opposite of those that a network was trained on
"""
