"""How certain the class of an image is. Arrays in, arrays out.

gaps.py           lowest energy of each class, and the gap from the winner to the best other class
probabilities.py  calibrated probabilities of all classes, by the network's own scores
class_sets.py     sets of classes that hold the right one with a chosen probability
"""
