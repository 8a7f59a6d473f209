"""Images from files, folders and data sets: validated, grey, (N, H, W) uint8.

    source.py    finds the format of a source and reads it
    imageset.py  the set of images, and parts of it
    idx.py, npy.py, npz.py, table.py, folder.py, digits.py, picture.py  one format each
    pixels.py    any array -> grey uint8
    labels.py    any array -> int64 labels
    stream.py    bytes of unknown origin, never more of them than announced
    limits.py    how many bytes, images and pixels are accepted

Every source may be hostile: sizes are checked before memory is allocated, and nothing is unpickled.
"""
