"""What work will need: pending runs, and a new run that has a target.

workload.py  reads pending work and past activity for `annealq plan`
offers.py    reads what calibrations have measured: accuracy and QPU time of each setting
accuracy.py  the accuracy that a run reaches at least, by a validation set
target.py    chooses a setting for a target, and the Pareto front of all
twin.py      a twin of a chip, which a run can be rehearsed on
promise.py   what was promised for a run, and whether the run kept it
"""
