"""Rounds of reads: the images of a run that are uncertain are read again, and all reads of an image count.

selection.py  chooses the images of the next round, and shares them out to problems and batches
gaps.py       reads how certain images are, and how far the rounds of a run came
sets.py       says which images have sets of several classes that more reads may change
begin.py      begins the next round of a run, or says why there is none
images.py     copies the images of a round to batches of their own
tiles.py      finds the tiles on which they lay before
reads.py      finds the reads of the images of a batch in all rounds
located_reads.py  says which problems have reads of the images of a batch, and which count
several_rounds.py  classifies images that were read in several rounds
"""
