"""Images from files, folders and data sets: grey, coloured, or vectors of values; validated.

They are grey, (N, H, W) uint8, coloured, (N, H, W, 3) uint8, or vectors, (N, D) float32.

    readers.py   the table of all formats, each with its readers
    source.py    finds the format of a source and reads it at once
    given.py     reads images that are given as numbers
    in_pieces.py opens it to be read in pieces, from any row on
    locations.py says where images came from, and whether they are still there
    imageset.py  the set of images, and parts of it
    origin.py    where images came from and how they were chosen, as it is stored
    arrays/, pictures/, archives/, columns/  one kind of formats each
    digits.py    scikit-learn's digits
    formats.py   recognises formats; refuses others, and names what to convert them to
    preprocessing.py  resizes and inverts on request; counts what was changed or left out
    pieces/      arrays and pictures of any size in bounded memory
    values/      any array of numbers -> images, vectors or labels
    stores.py    copies what an address of an object store names
    stream.py    bytes of unknown origin, never more of them than announced
    limits.py    how many bytes, images and pixels are accepted

Every source may be hostile: sizes are checked before memory is allocated, and nothing is unpickled.
"""
