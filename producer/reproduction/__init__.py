"""The paper's experiments, run through the queue and compared with the published results.

experiments/    one file for each experiment
paper.py        the published tables and times
digits5x5.py    the paper's binary digits of 5 x 5 pixels
runner.py       networks, runs and trials of an experiment, through the queue
trial.py        one network sampled in one way: its table, its accuracy, its curves
scores.py       a table of class scores
baseline.py     the same network without an annealer
report.py       numbers for programs, text.py: text for the terminal, charts.py: figures
"""
