"""Commands that exchange reads, models and embeddings with D-Wave's Ocean.

samples.py     `annealq runs samples`
models.py      `annealq networks export --bqm`
embeddings.py  `annealq embeddings export | import`
"""
