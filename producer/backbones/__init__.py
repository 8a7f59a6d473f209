"""Backbones that were imported: frozen networks that turn colour pictures into feature vectors.

onnx_files.py  reads a file, and says how to make one of what is no ONNX file
importing.py   has a file checked by a confined process, and stores it
queries.py     what is stored
prune.py       removes feature vectors that nothing needs any more
removal.py     deletes one that no network uses
"""
