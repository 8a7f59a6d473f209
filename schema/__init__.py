"""The contract that producer and worker share; it imports neither, nor celery, torch, dimod or dwave.

errors.py      all errors that annealq raises on purpose
messages.py    what is sent through the broker
quantities.py  numbers with their units, for display
settings.py    where database and broker are
solver_limits.py  ranges and sizes that a solver takes
states.py      states of rows, and the legal moves between them
calendar/      windows, deadlines, cron expressions
codecs/        arrays as the bytes that tables store
database/      transactions, and guarded moves of states
network/       layers, architectures, weights
parameters/    what a user may choose about a run
presets/       shipped networks
tables/        the tables
"""
