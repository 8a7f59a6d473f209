"""Bundles of runs: all that a run rests on in one file, from which its results are computed again.

docs/proof.md describes the format.

container/    the file: zip, manifest, Merkle tree, signature
documents.py  models of the JSON files
compact.py    reads, features and graphs as they deflate best
columns.py    results as columns, and where two such files differ
rows.py       SQL to documents
collect.py    a run to a bundle
crate.py      metadata for archives
contents.py   what a bundle says, checked
features.py   features from images, computed again
sent.py       problems as they were sent, built again
scores.py     results from raw reads, computed again
charges.py    charges and statistics, added again
verify.py     all of it, and what it proves
"""
