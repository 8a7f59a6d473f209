"""The public surface of annealq for Python: names that stay within a major version; all else is private.

networks.py    trained networks, their classes, energies and Q matrices
queues.py      the queue of this machine, without HTTP
heads.py       a torch module that ends a user's own network
estimators.py  a classifier of vectors for scikit-learn
extras.py      libraries that a name needs

A name is imported when it is first used, so that `import annealq` takes milliseconds and needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from annealq.estimators import AnnealqClassifier
    from annealq.heads import EnergyHead
    from annealq.networks import Network
    from annealq.queues import Queue, QueueOptions
    from producer.client import (
        AsyncClient,
        CalibrateOptions,
        ChangeOptions,
        Client,
        ClientError,
        DryRunOptions,
        FilterOptions,
        ImageResult,
        MissingExtra,
        OutcomeUnknown,
        RequestRejected,
        RescoreOptions,
        ResultArrays,
        ResultOptions,
        RunInfo,
        RunProgress,
        RunUnsuccessful,
        ServerUnavailable,
        SubmitOptions,
        TrainOptions,
        UnusableImages,
        WorkFailed,
    )
    from schema.errors import (
        AnnealqError,
        BrokerUnavailable,
        IdempotencyConflict,
        ImageError,
        InputError,
        NetworkError,
        NotFound,
        ParameterError,
        SolverError,
        StackError,
        StorageError,
    )
    from worker.ocean.chips import StoredChip
    from worker.ocean.sampler import AnnealqSampler

    __version__: str

__all__ = [
    "AnnealqClassifier",
    "AnnealqError",
    "AnnealqSampler",
    "AsyncClient",
    "BrokerUnavailable",
    "CalibrateOptions",
    "ChangeOptions",
    "Client",
    "ClientError",
    "DryRunOptions",
    "EnergyHead",
    "FilterOptions",
    "IdempotencyConflict",
    "ImageError",
    "ImageResult",
    "InputError",
    "MissingExtra",
    "Network",
    "NetworkError",
    "NotFound",
    "OutcomeUnknown",
    "ParameterError",
    "Queue",
    "QueueOptions",
    "RequestRejected",
    "RescoreOptions",
    "ResultArrays",
    "ResultOptions",
    "RunInfo",
    "RunProgress",
    "RunUnsuccessful",
    "ServerUnavailable",
    "SolverError",
    "StackError",
    "StorageError",
    "StoredChip",
    "SubmitOptions",
    "TrainOptions",
    "UnusableImages",
    "WorkFailed",
    "__version__",
]

_ERRORS = (
    *("AnnealqError", "BrokerUnavailable", "IdempotencyConflict", "ImageError", "InputError"),
    *("NetworkError", "NotFound", "ParameterError", "SolverError", "StackError", "StorageError"),
)
_MODULES = {
    "AnnealqClassifier": "annealq.estimators",
    "AnnealqSampler": "worker.ocean.sampler",
    "EnergyHead": "annealq.heads",
    "Network": "annealq.networks",
    "Queue": "annealq.queues",
    "QueueOptions": "annealq.queues",
    "StoredChip": "worker.ocean.chips",
    **dict.fromkeys(_ERRORS, "schema.errors"),
}


def __getattr__(name: str) -> Any:
    """Return the public ``name``, imported now; raise MissingExtra if a library that it needs is missing."""
    if name not in __all__:
        raise AttributeError(f"module 'annealq' has no attribute {name!r}: see docs/python.md")
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("annealq")
    else:
        from annealq.extras import require_libraries

        require_libraries(name)
        value = getattr(import_module(_MODULES.get(name, "producer.client")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
