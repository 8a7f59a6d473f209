"""The options of a run, as POST /v1/runs takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict


class SubmitOptions(TypedDict, total=False):
    """What `submit` takes beside images and labels; the server's defaults stand for what is left out or None.

    The descriptions and limits are those of `annealq classify --help` and of the server's /docs.
    """

    name: str | None  # of the run, for display
    network: str | None  # NAME or NAME@VERSION
    solver: str | None  # local, exact, emulator or dwave
    priority: int | None
    budget_s: float | None  # QPU seconds that the run may be charged
    window: str | Sequence[str] | None  # hours in which it may work: "mon-fri 22:00-06:00"
    tz: str | None  # time zone of window and deadline: "Europe/London"
    deadline: str | datetime | None
    webhook: Mapping[str, str] | None  # url, and a secret that signs its messages
    batch_size: int | None
    calibration: bool | None  # take what is not given from the newest calibration

    # Which images, and how they are read.
    uri: str | None  # a file below the server's folders, instead of images
    part: str | None  # of an .npz file with several sets of images
    classes: str | None  # only images with these labels: "0,1,7"
    limit: int | None  # only the first N images
    resize: str | None  # HEIGHT or HEIGHTxWIDTH
    fit: str | None  # crop, pad or stretch
    invert: bool | None

    # How they are sampled and scored.
    reads: int | None
    seed: int | None
    visible: str | None
    rule: str | None
    fraction: float | None
    sweeps: int | None
    lam: float | None
    beta: float | None
    noise: float | None

    # The same with qubits.
    qpu: str | Mapping[str, Any] | None
    tiles: int | None
    chain_strength: float | None
    scale: float | None
    annealing_time_us: float | None
    anneal_schedule: Sequence[Sequence[float]] | None  # points [us, s]
    gauge: str | None
    unembedding: str | None
