"""Several QPUs for one run: what a batch would cost on each, and which one gets it.

candidates.py   the QPUs that a run may use, with embedding, work in flight, load and circuit breaker
giving.py       gives a batch to one of them, and records why
comparison.py   compares the QPUs of a service for a whole run
estimate.py     the dry run: what a run would need and cost
budget.py       how many images a calibration can compare within its budget (pure)
"""
