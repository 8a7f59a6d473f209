"""The trained network: features of images, its own class scores, training, and the transfer to Q.

trained.py    a network that is ready: architecture, weights, features, energy models
transfer.py   from trained weights to the energy that is sampled
columns.py    which weight couples which two units of Q
stacks.py     torch feature layers, one after another: of a network, or of one of its sources
layers.py     the torch network, and class free energies
deep.py       class scores of networks with hidden units
errors.py     errors of h and J in training: fractions of the largest values, or those of a chip
objective.py  what training maximises, with the errors of the hardware
quality.py    accuracy, balanced accuracy and AUC of class scores
temperature.py  the temperature that makes probabilities of class scores
training/     training with seeds, metrics and early stopping
features.py   forward passes for whole batches
inference.py  class scores and classes of the network alone
"""
