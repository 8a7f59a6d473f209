"""Objects that live as long as the process and are shared between requests.

notifier.py       a thread that notifies workers of new runs
progress_feed.py  progress of runs for any number of listeners
positions.py      where a client is in a stream of events
readiness.py      whether database and broker can be used
snapshots.py      runs as JSON, rendered once for all readers
network_cache.py  the network that was chosen for a name and image size
links.py          URLs of a run
"""
