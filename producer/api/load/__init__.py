"""What one process does at a time, so that one slow thing does not stop the rest.

pools.py        threads: separate ones for reads, writes, pages, charts and checks, each with a bounded queue
routing.py      the pool in which the function of a route runs
memory.py       bytes of all requests: bodies, and images that are decoded
connections.py  how many connections there may be, and how long they may wait
"""
