"""The paper's experiments again, through the queue.

laboratory.py   networks and runs that an experiment needs, made or found again
scores.py       a table of class scores, and what can be read off it
trial.py        one network sampled one way: its table, its accuracy, its curves
table1.py, table2.py, conv358.py, scaling.py   one experiment each
text.py         what people read; report.py: what an experiment gives
yardstick.py    the same network without an annealer
"""
