"""The report of a run: everything about it in one file.

run_facts.py   everything that is shown about a run, read from the database
content.py     what decides it: while it is the same, it is not drawn again
provenance.py  the inputs of a run, and the commands that repeat it
run_report.py  the report as HTML or Markdown
"""
