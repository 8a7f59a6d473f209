"""What one process does at a time, so that one slow thing does not stop the rest.

pools.py   threads: separate ones for reads, writes, pages, programs and checks, each with a bounded queue
routing.py the pool in which the function of a route runs
"""
