"""Networks as both sides know them.

layers.py        specifications of layers, input and training
source_table.py  what each source of a network adds
sources.py       shapes after layers and of weights, and named blocks of feature layers
architecture.py  all layers of a network, the geometry of its Q matrix, and the presets
balance.py       whether classes have very different numbers of images
backbones.py    limits of backbones, and the scales of their pixels
recipes.py      what makes feature vectors of pictures
names.py         names of networks and versions
units.py         names of units
temperature.py   the temperature that turns class scores into probabilities
weights.py       trained weights as safetensors
"""
