"""Programs that answer what only the worker's libraries can compute: `python -m worker.tools.NAME`."""
