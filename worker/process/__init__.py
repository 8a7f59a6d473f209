"""One worker process: logs, metrics, its work, shutdown, hints.

logs.py          structured logs on standard error
meter.py         interface of its metrics: counters and timings
activity.py      what it works on, for its logs and its row in the table of workers
presence.py      writes that row: it is alive, what it does, and with which accounts
prometheus.py    these for Prometheus, over the processes of a pool
shutdown.py      the flag that stops its work
hints.py         sends Celery messages
"""
