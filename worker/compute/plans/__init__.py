"""Plans of reads: a first round for all images of a run, and later ones for its uncertain images.

outcomes.py    what the first reads of labelled images make of them
simulation.py  what each plan would have made of the stored reads of a validation set
choice.py      the plans that are worth their QPU time, and the cheapest of about the best accuracy
"""
