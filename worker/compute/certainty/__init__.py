"""How certain the class of an image is.

gaps.py           lowest energy of each class, and the gap from the winner to the best other class
probabilities.py  calibrated probabilities of all classes, by the network's own scores
class_sets.py     sets of classes that hold the right one with a chosen probability
balance.py        figures of runs whose classes have very different numbers of images
rating.py         all of these for the images of a batch
guarantee.py      what the sets of a finished run are, and what speaks against their guarantee
nonconformity.py  how badly right classes conform to their reads, of a calibration's images
"""
