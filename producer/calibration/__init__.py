"""Calibrations: enqueued as a grid of runs, chosen for a run, read back.

enqueue.py  the grid, the rows of a calibration, and the choice of one for a run
overlap.py  finds images that two data sets share
queries.py  reads calibrations
background.py  warns of images whose brightness is the opposite of those that a network was trained on
"""
