"""Decides what is worked on next, and whether it may be: order, limits, windows, circuit breaker.

dispatch.py         chooses the next batches, by priority and in turns
sharing.py          decides which of several QPUs gets a batch
admission.py        limits what is submitted: problems in flight, budgets of QPU time, windows, deadlines
run_windows.py      applies windows and deadlines to runs
due_schedules.py    creates firings of schedules that are due
rechecks.py         says when to look again for problems that were sent twice, and books them
circuit_breaker.py  defers batches whose solver does not answer
"""
