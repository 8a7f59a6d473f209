"""Tables of columns, one row an image.

open.py      a path -> its table, and the columns to read
pieces.py    rows of a table -> pieces of images or vectors
layout.py    which columns hold images and labels, and the names of the classes
labels.py    checks all labels of a table, and numbers those that are text
vectors.py   lists of numbers -> feature vectors
parquet.py   the rows of Parquet files, in small batches
arrow.py     the rows of Arrow streams, as `save_to_disk` of Hugging Face's `datasets` writes them
messages.py  record batches of such a stream, checked before pyarrow reads them
pages.py     page headers of a Parquet file, checked before anything is unpacked
footer.py    where the pages of a Parquet file are, from its metadata
thrift.py    the encoding of page headers and metadata
library.py   pyarrow, and what its errors say
"""
