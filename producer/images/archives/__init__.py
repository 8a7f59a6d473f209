"""Archives of pictures, zip and tar, which are read in place and never extracted.

open.py        a path -> listed pictures
zipped.py      the members of a zip archive
members.py     names of members: refused ones, classes by folders, splits
tarred.py      the members of a tar file, perhaps compressed by gzip
reading.py     listed members of a tar file -> pictures
webdataset.py  shards of WebDataset: pictures and their labels in groups of members
"""
