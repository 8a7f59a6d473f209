"""Tables of columns, one row an image.

open.py      a path -> its table, and the columns to read
files/       tables in Parquet files and Arrow streams
pieces.py    rows of a table -> pieces of images or vectors
layout.py    which columns hold images and labels, and the names of the classes
labels.py    checks all labels of a table, and numbers those that are text
cells.py     bytes of picture files in a column
lists.py     lists of equal length in a column -> one array
pixels.py    columns of pixels -> images
vectors.py   lists of numbers -> feature vectors
pyarrow_errors.py  errors of pyarrow as ImageError
"""
