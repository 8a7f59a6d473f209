"""One batch on a solver with qubits: prepared, submitted, collected, and checked for duplicates.

Read `submission.sample_batch` first, then the way of a problem: `recovery.py` reserves it, `sending.py` sends
it, `collecting.py` stores its answer.

    prepare.py      chip, embedding, encoded program and estimate, for a run
    submission.py   the whole way of a batch; the loop around the three steps, and what stops it
    state.py        what these steps share
    recovery.py     resolves what an earlier worker left, reserves what is missing
    horizon.py      tells how far back the solver's memory reaches
    sending.py      admits problems, records them as being sent, and sends them
    collecting.py   stores ids, answers and failures
    measuring.py    measures the chip by an answer
    checking.py     rejects problems that were programmed wrongly; raises alarms about chips
    duplicates.py   finds duplicate submissions, and records what they cost
    deprecations.py stores and logs what the service announces about a solver
"""
