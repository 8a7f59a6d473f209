"""Bundles of runs, written and verified by programs of the worker.

bundle.py   a run to a file
verify.py   a file to a report
report.py   what was found out, and its text
"""
