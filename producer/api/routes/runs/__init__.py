"""Runs: listed, shown, changed, controlled, followed and read.

listing.py  list and search runs               run.py        show, change and delete one
control.py  pause, resume and cancel           rescoring.py  score the reads of a run in another way
results.py  classified images, and downloads   images.py     one image: pixels, scores and reads
events.py   progress as server-sent events     conflicts.py  what several of these refuse
changes.py  what is changed of a run           sample_sets.py  reads as sample sets of D-Wave's Ocean
bundles.py  a run as a bundle                  datasets.py  images with results, for other tools
choices.py  which images are wanted
"""
