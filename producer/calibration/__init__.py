"""Calibrations: enqueued as a grid of runs, chosen for a run, read back.

enqueue.py  the grid, the rows of a calibration, and the choice of one for a run
overlap.py  finds images that two data sets share
queries.py  reads calibrations
"""
