"""A client of the HTTP API for Python, which also installs alone, as the package `annealq_client`.

It imports nothing else of annealq, so that it needs httpx and numpy only: `pip install producer/client`.

clients.py     Client, which blocks, and AsyncClient
operations.py  what both can ask of a server
readings.py    the same for what follows runs and reads results
submissions.py the same for what sends images
options.py     the options of a run, of lists and of changes
files.py       images and labels as the files of a form
results.py     progress, runs and classified images; as arrays and tables
connection.py  requests that are repeated, and streams of events
patience.py    whether a request is sent again, and when
events.py      the format of server-sent events
transports.py  httpx, blocking and async
blocking.py    runs the one implementation without an event loop
errors.py      what goes wrong
"""

from .clients import AsyncClient, Client
from .errors import (
    ClientError,
    MissingExtra,
    OutcomeUnknown,
    RequestRejected,
    RunUnsuccessful,
    ServerUnavailable,
    UnusableImages,
    WorkFailed,
)
from .options import (
    CalibrateOptions,
    ChangeOptions,
    DryRunOptions,
    FilterOptions,
    RescoreOptions,
    ResultOptions,
    SubmitOptions,
    TrainOptions,
)
from .results import ImageResult, ResultArrays, RunInfo, RunProgress

__all__ = [
    "AsyncClient",
    "CalibrateOptions",
    "ChangeOptions",
    "Client",
    "ClientError",
    "DryRunOptions",
    "FilterOptions",
    "ImageResult",
    "MissingExtra",
    "OutcomeUnknown",
    "RequestRejected",
    "RescoreOptions",
    "ResultArrays",
    "ResultOptions",
    "RunInfo",
    "RunProgress",
    "RunUnsuccessful",
    "ServerUnavailable",
    "SubmitOptions",
    "TrainOptions",
    "UnusableImages",
    "WorkFailed",
]
