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
