"""Rows of files that batches name instead of holding their images.

reference.py  names rows of a file, and reads them if it is in an allowed folder
npy.py        rows of a .npy file
parquet.py    pictures and vectors of a Parquet file
"""
