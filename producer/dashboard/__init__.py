"""Pages for browsers, and the report of a run as one file.

app.py                the pages as an ASGI application: routes, login, buttons
overview.py           queries of the lists of runs and solvers
run_facts.py          everything that the page of a run shows, read from the database
run_report.py         the report of a run as HTML or Markdown
provenance.py         the inputs of a run, and the commands that repeat it
cells.py              coloured tables: predicted against true classes, mean scores
energy_histograms.py  energy histograms, computed by a process with the worker's packages
svg_charts.py         bar charts as SVG
grafana.json          a dashboard for Grafana
"""
