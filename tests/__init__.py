"""All tests of annealq."""

import os

# Before numpy and torch are imported: threads that wait for each other in a loop take the processor from the
# tests of the other processes.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
