"""The local stack: private broker, emulator, workers and reconciler as child processes of one owner.

stack.py            starts the parts in order, stops them at a signal
supervisor.py       watches child processes and restarts them
process.py          one child process, its log and its environment
die_with_parent.py  lets the kernel kill a child whose owner died
broker.py, emulator.py  the two servers of a stack
home.py, lock.py    the home folder, and which process owns it
health.py           health checks of workers and reconcilers
programs.py         programs of the worker, for what needs torch or a solver's client
forkserver.py       has them forked from one process
"""
