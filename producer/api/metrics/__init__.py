"""Metrics for Prometheus: of the database, which all processes of the API share, and of this process.

exposition.py  all metrics as text
stored.py      what the database holds: runs, batches, problems, charges, workers
usage.py       what each owner has used today
monotone.py    counters that do not fall when rows are deleted
process.py     this process: requests, pools, listeners, webhooks, memory
requests.py    middleware that measures requests
"""
