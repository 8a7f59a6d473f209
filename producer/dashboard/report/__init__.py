"""What is known about one run: read from the database, and written as its report, everything in one file.

aggregates.py  counts of the classified images, and the least certain ones
run_facts.py   everything that is shown about a run, read from the database
content.py     what decides it: while it is the same, it is not drawn again
pictures.py    pixels of images as PNG
run_values.py  facts as values of templates, for page and report
provenance.py  the inputs of a run, and the commands that repeat it
run_report.py  the report as HTML or Markdown
"""
