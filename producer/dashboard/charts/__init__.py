"""Charts and coloured tables, as values that templates write.

svg_charts.py         bar charts as SVG
cells.py              coloured tables: predicted against true classes, mean scores
energy_histograms.py  energy histograms, computed by a process with the worker's packages
visible_values.py     values of the visible units of an image
"""
