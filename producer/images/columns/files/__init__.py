"""Tables in files, checked before pyarrow reads them.

table.py     rows of columns in files, whatever their format
parquet.py   the rows of Parquet files, in small batches
arrow.py     the rows of Arrow streams, as `save_to_disk` of Hugging Face's `datasets` writes them
messages.py  record batches of such a stream, checked before pyarrow reads them
pages.py     page headers of a Parquet file, checked before anything is unpacked
footer.py    where the pages of a Parquet file are, from its metadata
thrift.py    the encoding of page headers and metadata
"""
