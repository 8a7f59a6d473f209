"""Images that are sent: to be classified, trained on or calibrated with, or to find out what that would cost.

submissions.py  POST /v1/runs: submit a run      options.py  the fields of its body
uploads.py      files of a request               dry_runs.py what a run would need and cost
large_sets.py   files of which the first images are read before the answer, and the others after it
bodies.py       what requests that send images share
calibrations.py POST /v1/calibrations: fit sampling parameters
networks.py     POST /v1/networks: train a network, or import one
"""
