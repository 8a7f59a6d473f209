"""Reads, class scores and statistics, computed without database and queue.

linear_terms.py  linear terms of a batch's images
scoring.py       raw reads to scores
consensus.py     reads to a class
certainty/       how certain a class is: energy gaps, probabilities, sets of classes
problem_checks.py  what the reads of a problem say about the chip, and whether it was programmed wrongly
chip_alarm.py    whether the newest problems of a chip differ from its past
twin/            a model of a chip, fitted to the reads of a run
chip_map.py      field errors and broken chains of each chain, from many problems
candidates.py    sampling parameters that a calibration compares
calibration.py   the choice among them
plans/           plans of reads, simulated on the reads of a calibration
controls.py      accuracies without annealing, to compare an accuracy with
throughput.py    throughput figures of a run, from arrays
summary.py       the statistics of a run, from its rows
training.py      a training job's images to weights
"""
