"""Files of arrays and records of fixed size, one format each.

idx.py    IDX, as MNIST has it, and torchvision's folder of it
npy.py    .npy
npz.py    .npz: which of its arrays are images and labels
table.py  CSV of pixels
cifar.py  the records of CIFAR's binary versions; cifar_files.py finds their files
"""
