"""Times at which runs may work and schedules are due. Pure: no clock of its own, no database.

windows.py    hours of the week, deadlines, time zones
run_hours.py  windows and deadline of one run
cron.py       cron expressions of schedules
durations.py  lengths of time, as in 24h
"""
