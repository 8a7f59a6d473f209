"""The default size of batches: a solver with qubits charges a full problem, however few images it holds."""

from __future__ import annotations

from schema.parameters.choices import Solver, Visible
from schema.parameters.sampling import MAX_BATCH_SIZE, Parameters

BATCH_SIZE = 100  # images; large enough that the queue costs under 1 % of sampling them
REMOTE_BATCH_SIZE = 1_000
# A problem of a small folded network holds hundreds of images: of 1,000 images the last problem holds few.
LARGEST_DEFAULT = 3_000
# With three problems in a batch, worker and solver wait for each other: up to 20 % fewer images per second.
_PROBLEMS = 8
MAX_BATCH_BYTES = 16 * 2**20
"""Bytes of the images of a batch, one value of a row: whatever sends, stores or decodes it holds them."""
MAX_PROBLEM_BYTES = 4 * MAX_BATCH_BYTES
"""The same of a batch with one problem of a solver with qubits, which charges a full one anyhow."""


def default_batch_size(solver: Solver, parameters: Parameters, tiles: int | None) -> int:
    """Return the default number of images in a batch with ``parameters`` on ``solver``.

    For a solver with qubits it is that of the whole problems nearest to `REMOTE_BATCH_SIZE`, at least eight,
    once the number of images in a problem, ``tiles``, is known or limited.
    """
    if not solver.is_remote:
        return BATCH_SIZE
    tiles = tiles or parameters.tiles
    if tiles is None and parameters.visible == Visible.FOLDED:
        return LARGEST_DEFAULT
    if tiles is None or tiles > MAX_BATCH_SIZE:
        return REMOTE_BATCH_SIZE
    problems = max(round(REMOTE_BATCH_SIZE / tiles), _PROBLEMS)
    return tiles * min(problems, MAX_BATCH_SIZE // tiles)


def within_bytes(size: int, image_bytes: int, tiles: int | None = None) -> int:
    """Return the most images, up to ``size``, that a batch may have by the bytes of each: 1 at least.

    ``tiles`` is the number of images in a full problem of a solver with qubits, if that is known: a batch has
    whole problems if it can.

    >>> photo = 224 * 224 * 3
    >>> within_bytes(1_000, 28 * 28), within_bytes(1_000, photo), within_bytes(1_000, photo, tiles=50)
    (1000, 111, 100)
    """
    most = max(MAX_BATCH_BYTES // image_bytes, 1)
    if size <= most or tiles is None:
        return min(size, most)
    if tiles > most:
        return tiles if tiles <= size and tiles * image_bytes <= MAX_PROBLEM_BYTES else most
    return most // tiles * tiles
