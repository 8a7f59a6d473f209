"""Picture files, alone, in a folder or listed in a table, read one at a time.

picture.py   decodes one picture: upright, grey, resized
plain.py     decodes small PNG and JPEG files that have nothing but pixels
entry.py     one picture of a folder, archive or table
paths.py     CSV of paths and labels
pictures.py  listed pictures as pieces
decoding.py  pictures, a few megabytes of pixels at a time
folder.py    lists a folder
"""
