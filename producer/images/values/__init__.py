"""Any array of numbers -> validated images or labels, a piece at a time.

kinds.py    finds out what an array is: images, one picture or vectors; refuses what may be two of them
pixels.py   uint8 pixels, grey or coloured; and from one to the other
vectors.py  float32 vectors
labels.py   int64 labels
"""
