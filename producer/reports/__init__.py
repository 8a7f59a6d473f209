"""Text and tables for the terminal, plain objects for --json, and exports.

terminal.py    standard output and standard error, tables
progress.py    live progress of runs, trainings, calibrations and dry runs
run.py         a run, and the list of runs
certainty.py   what ranks images by certainty, and the calibration error
parameters.py  sampling parameters in one line
network.py     networks, their training and what it says of the labels
calibration.py  calibrations
solver.py      costs of a dry run, QPUs compared, embeddings, QPU figures of a run
workers.py     workers
schedules.py   schedules and their firings
forecast.py    `annealq plan`
export.py      rows as CSV, JSON or Parquet
"""
