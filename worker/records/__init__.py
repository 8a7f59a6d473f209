"""Reads and writes of the rows that workers process. No numbers are computed here.

claims.py        claims batches and other rows for one worker
leases.py        renews the lease of a claimed row, with every write
attempts.py      ends attempts: completed, released for a retry, or failed
retries.py       decides whether failed work is retried or discarded (pure)
runs.py          pauses, counts of batches, statistics
batches.py       images, samples and classifications of a batch
problems.py      the ledger of problems submitted to solvers
spending.py      QPU time spent by runs and days
embeddings.py    looks up stored embeddings, or has one worker search
networks.py      loads trained networks, and what their training needs
certainty/       reads what says how certain classifications are
measurements.py  what answers say about a chip, and problems that were programmed wrongly
calibrations.py, dry_runs.py    work other than batches
"""
