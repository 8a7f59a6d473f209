"""The file of a bundle, whatever it holds: a zip file of one form, its manifest and its signature.

archive.py     zip files that have one form only
plain_json.py  JSON that has one form only
merkle.py      Merkle tree of RFC 6962
manifest.py    digests of all files, and the root
signature.py   Ed25519 signatures of the root
"""
