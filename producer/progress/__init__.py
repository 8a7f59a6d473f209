"""How far runs are, and what they wait for: one answer for terminal, pages, API and metrics.

stages.py   counts the images of a run in each stage, and estimates when it is done
rounds.py   says what each round of reads did
rounds_to_come.py  says what rounds of reads are expected to read that have not begun
intake.py   says how far the images of a run are read from their source
batches.py  says how far batches are that are sampled without qubits
reasons.py  says why a run does not continue: its solver fails, no worker is there, others go first
searches.py says what a search for an embedding does, and how long it may take
backlog.py  counts the batches that wait for a worker, and those that do not
access.py   says whether a worker can reach a solver with qubits
history.py  what users did to a run
workers.py  lists the workers: which are alive, which are dead, and what they do
"""
