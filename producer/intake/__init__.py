"""Images of a large source, read in pieces while workers sample those that were read.

find.py     whether a request names such a source
source.py   what is read of it, and the files that it consists of
drawn.py    draws some of its images, to be used at once
groups.py   its images in groups of whole batches
open.py     writes a run with its first batches, or finds the one of an idempotency key
read_on.py  adds the others, transaction by transaction, from where the run ends
growth.py   notifies workers meanwhile
waiting.py  which intakes wait for a reader, and where their images are
background.py  reads on runs of the API and of schedules, for which no command waits
process.py  keeps a process running that does so
uploads.py  stores uploaded files until their images are read
verify.py   compares a source that has changed with the batches that were read from it
"""
