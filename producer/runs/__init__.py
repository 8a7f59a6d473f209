"""One run: requested, enqueued, controlled, scored again, pruned, and read back.

request.py     what a user asks of a run, and how it is worked on
enqueue.py     writes a run and its batches, once for an idempotency key
batch_size.py  chooses the size of batches
hints.py       sends hints to the workers
control.py     pauses, resumes, cancels and changes a run
dry_runs.py    asks workers what a run would need and cost
rescore.py     scores stored samples again
prune.py       removes raw reads
qpus.py        tells which QPUs the problems ran on
queries.py, results.py, summary.py  read runs, images and tables of them
filters.py     which runs a list shows, and its owner and its tags
"""
