"""Images that are sent: to be classified, to be trained on, or to find out what that would cost.

submissions.py  POST /v1/runs: submit a run      options.py  the fields of its body
uploads.py      files of a request               dry_runs.py what a run would need and cost
networks.py     POST /v1/networks: train a network, or import one
"""
