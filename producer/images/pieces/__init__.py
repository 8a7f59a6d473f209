"""Arrays and pictures of any size in bounded memory: read, converted and collected in pieces.

allowance.py  what reading one source may need, checked against headers before anything is decoded
stored.py     an array of a file: its header, and its values in pieces
collector.py  pixels in their order: in memory if they are few, else in a temporary file
preparation.py  resizes and inverts collected images
piece.py      a source as pieces of rows, from any row on
uniform.py    rows that all have the shape of the first one
gathering.py  all pieces of a source as one array
numbering.py  checks that labels are whole numbers in range
shards.py     the files of a data set in a folder: splits, numbers, missing shards
"""
