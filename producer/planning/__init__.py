"""What runs when: schedules and their due times, and the forecast of the coming windows.

schedules.py        stores schedules and their firings
schedule_runner.py  enqueues a run for each due firing, as a process of its own
backlog.py          counts the batches that wait for a worker, and those that do not
workload.py         reads pending work and past activity for `annealq plan`
forecast.py         computes what fits into the next windows
"""
