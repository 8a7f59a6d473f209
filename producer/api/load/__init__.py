"""What one process does at a time, so that one slow thing does not stop the rest.

pools.py   threads: separate ones for reads, writes, pages, programs and checks, each with a bounded queue
memory.py  bytes of all requests: bodies, and images that are decoded
routing.py the pool in which the function of a route runs
"""
