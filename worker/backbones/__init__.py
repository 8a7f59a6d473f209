"""Backbones: frozen networks in the ONNX format that turn colour pictures into feature vectors.

A file is checked in a confined process before it is stored (`python -m worker.tools.check_backbone`); what
was stored runs in the worker's own process.

    operators.py     the operators that a backbone may use, and which of their inputs decide shapes
    tensors.py       what each tensor of a file is checked for
    model_check.py   what the graph of a file is checked for, before anything runs it
    confinement.py   limits of the process that checks a file
    dry_run.py       what a file must do with a few pictures
    session.py       onnxruntime as it is set up here
    pixels.py        pictures as the values that a backbone takes
"""
