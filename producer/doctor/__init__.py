"""`annealq doctor`: compares a database with itself, and with what a solver knows; repairs what is safe.

    counters.py     what runs count, against the rows that are counted
    states.py       states against each other, against times, and leases that nobody holds any more
    relations.py    rows whose parents are gone, and rows that should have children
    checksums.py    every stored byte, row by row
    revision.py     tables and columns against those of this code
    ledger.py       problems against the solver's own list
    repairs.py      the only place that writes

Every check is one statement, so that a database at work is seen at one instant.
"""
