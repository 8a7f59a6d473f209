"""What runs when: schedules and their due times, and the forecast of the coming windows.

schedules.py        stores schedules and their firings
schedule_runner.py  enqueues a run for each due firing, as a process of its own
forecast.py         computes what fits into the next windows
"""
