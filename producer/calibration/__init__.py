"""Calibrations: enqueued as a plan, chosen for a run, read back.

grid.py        parameters that the runs of a calibration differ in
enqueue.py     the rows of a calibration, and the choice of one for a run
choice.py      a finished calibration, as a run uses it
guarantee.py   whether a calibration can give the sets of classes of a run
queries.py     reads calibrations
background.py  warns of images whose brightness is the opposite of those that a network was trained on
"""
