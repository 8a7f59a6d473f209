"""Images from files, folders and data sets: validated, grey, (N, H, W) uint8.

    source.py    what a user names -> a set of images       imageset.py  the set, and parts of it
    idx.py, npy.py, npz.py, table.py, folder.py, digits.py  one format each; picture.py: one picture
    pixels.py    any array -> grey uint8                    labels.py    any array -> int64 labels
    stream.py    bytes of unknown origin, never more of them than announced; limits.py: how many

Every source is taken for hostile: sizes are checked before memory is allocated, and nothing is unpickled.
"""
