"""Calibrations: enqueued as a grid of runs, chosen for a run, read back."""
