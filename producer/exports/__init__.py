"""Writes classified images as data sets of other tools, and runs and trainings as runs of MLflow.

formats.py        what data sets there are
exported_run.py   what is written of a run, a batch at a time
fiftyone.py       a folder or .zip for FiftyOne
label_studio.py   tasks for Label Studio
hugging_face.py   Parquet for Hugging Face's `datasets`
pictures.py       pixels as PNG
places.py         a folder or .zip that is complete or absent
epochs.py         the epochs of a training as rows
tracked.py        what is tracked of a run or a training
tracking.py       parameters, metrics and files in MLflow, once
"""
