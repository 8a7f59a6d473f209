"""Images from files, folders and data sets: validated, grey, (N, H, W) uint8.

    source.py    finds the format of a source and reads it
    imageset.py  the set of images, and parts of it
    arrays/, pictures/, archives/, columns/  one kind of formats each
    digits.py    scikit-learn's digits
    formats.py   recognises formats; refuses others, and names what to convert them to
    preprocessing.py  resizes and inverts on request; counts what was changed or left out
    pixels.py    any array -> grey uint8
    pieces/      arrays and pictures of any size in bounded memory
    labels.py    any array -> int64 labels
    stream.py    bytes of unknown origin, never more of them than announced
    limits.py    how many bytes, images and pixels are accepted

Every source may be hostile: sizes are checked before memory is allocated, and nothing is unpickled.
"""
