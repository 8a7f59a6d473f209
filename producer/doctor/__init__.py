"""`annealq doctor`: checks a database against itself and a solver's list of problems; repairs what is safe.

    examination.py      runs all checks, then the repairs
    finding.py          the result of a check
    counters.py         counters of runs against the rows that they count
    states.py           states against each other and their times, and abandoned leases
    relations.py        rows whose parents are missing, and rows that lack children
    spendings.py        sums of QPU time against the problems
    checksums.py        every stored byte, row by row
    revision.py         tables and columns against those of this code
    ledger.py           problems against the solver's own list
    solver_problems.py  fetches that list
    repairs.py          guarded writes

Every check is one statement, so that it sees a busy database at one instant.
"""
