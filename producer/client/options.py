"""The options of requests, as the server takes them; its /docs has their meaning and limits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypedDict


class SamplingOptions(TypedDict, total=False):
    """How images are sampled and scored; what is left out or None has its default."""

    reads: int | Literal["auto"] | None  # auto: what costs least by the calibration
    rounds: Sequence[Sequence[float]] | None  # further ones: [reads, gap, share]
    seed: int | None
    visible: str | None
    rule: str | None
    fraction: float | None
    sweeps: int | None
    lam: float | None
    beta: float | None
    noise: float | None
    confidence: float | None  # of the set of classes of each image
    by_class: bool | None
    without: Sequence[str] | None  # sources of the network that are left out

    # The same with qubits.
    tiles: int | None
    chain_strength: float | None
    scale: float | None
    annealing_time_us: float | None
    anneal_schedule: Sequence[Sequence[float]] | None  # points [us, s]
    gauge: str | None
    unembedding: str | None


class PreparationOptions(TypedDict, total=False):
    """Which images are used, and how they are read; what is left out or None has its default."""

    part: str | None  # of an .npz file with several sets of images
    limit: int | None  # only the first N images
    read_as: str | None  # of an array: images, picture or vectors; sent as `as`
    resize: str | None  # HEIGHT or HEIGHTxWIDTH
    fit: str | None  # crop, pad or stretch
    invert: bool | None


class GivenRunOptions(SamplingOptions, PreparationOptions, total=False):
    """What a run takes, apart from images and labels, over HTTP and by the database.

    The descriptions and limits are those of `annealq classify --help` and of the server's /docs.
    """

    name: str | None  # of the run, for display
    tags: Sequence[str] | None  # by which it is found again
    network: str | None  # NAME or NAME@VERSION
    solver: str | None  # local, exact, emulator or dwave
    priority: int | None
    budget_s: float | None  # QPU seconds that the run may be charged
    window: str | Sequence[str] | None  # hours in which it may work: "mon-fri 22:00-06:00"
    tz: str | None  # time zone of window and deadline: "Europe/London"
    batch_size: int | None
    calibration: bool | None  # take what is not given from the newest calibration
    target: float | None  # accuracy that the run must reach: settings are chosen from calibrations
    prices: Sequence[str] | None  # of a minute of QPU time: "30", or of one QPU: "NAME=45"
    classes: str | None  # only images with these labels: "0,1,7"
    scale_pixels: bool | None  # from 0..255 to the range that the network takes


class SubmitOptions(GivenRunOptions, total=False):
    """What `submit` takes, too; the server's defaults stand for what is left out or None."""

    uri: str | None  # a file below the server's folders, instead of images
    webhook: Mapping[str, str] | None  # url, and a secret that signs its messages
    deadline: str | datetime | None
    qpu: str | Mapping[str, Any] | None


class DryRunOptions(SamplingOptions, total=False):
    """What `dry_run` takes of the run that it estimates; the server's defaults stand for the rest."""

    qpu: str | None
    batch_size: int | None
    time_limit_s: float | None  # for a search for an embedding


class TrainOptions(PreparationOptions, total=False):
    """Options of `train` in addition to images and labels; the server has a default for each."""

    name: str | None  # of the network; default: that of the architecture
    architecture: str | Mapping[str, Any] | None  # a preset, or layers; default: layers for these images
    transfer: str | None  # energy or paper
    seed: int | None
    epochs: int | None
    uri: str | None  # a file below the server's folders, instead of images


class CalibrateOptions(PreparationOptions, total=False):
    """Options of `calibrate` in addition to images and labels; the server has a default for each."""

    network: str  # NAME or NAME@VERSION
    name: str | None  # of the images, for display
    solver: str | None  # local, exact, emulator or dwave
    budget_s: float | None  # QPU seconds that all of it may be charged; necessary for a QPU
    reads: int | None  # the most to consider
    seed: int | None
    visible: str | None
    lam: Sequence[float] | None  # values to compare, as the next three
    sweeps: Sequence[int] | None
    chain_strength: Sequence[float] | None
    scale: Sequence[float] | None
    cross: bool | None  # compare all combinations
    qpu: str | None
    tiles: int | None

    uri: str | None
    classes: str | None
    scale_pixels: bool | None


class FilterOptions(TypedDict, total=False):
    """Which runs `runs` yields, as in GET /v1/runs."""

    state: str | None
    name: str | None  # the name contains it
    network: str | None
    solver: str | None
    owner: str | None
    tag: str | None
    since: str | datetime | None  # when it was enqueued
    until: str | datetime | None
    before: int | None  # only runs older than this one
    order: str | None
    fields: str | None  # only these: "state,name"


class ResultOptions(TypedDict, total=False):
    """Which images the results of a run have, as in GET /v1/runs/RUN/results."""

    wrong: bool | None  # labelled images that are wrong, or right
    status: str | None  # decided, tied or undecided
    label: int | None  # of this class
    predicted: int | None  # predicted to be of this class
    probability_below: float | None
    margin_below: float | None
    provisional: bool | None  # what there is so far, at once: a later round of reads may change it
    set_size_above: int | None


class ChangeOptions(TypedDict, total=False):
    """What `change` changes of a run; None removes a budget, a window or a deadline."""

    name: str
    tags: Sequence[str]
    priority: int
    budget_s: float | None
    window: str | Sequence[str] | None
    tz: str | None
    deadline: str | datetime | None


class RescoreOptions(TypedDict, total=False):
    """What is different when the reads of a run are scored again; all else stays."""

    rule: str
    fraction: float
    beta: float
    reads: int  # only the first N of each image
    unembedding: str
    confidence: float  # of the set of classes of each image
    by_class: bool


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` without None, and with times as text."""
    return {name: json_value(value) for name, value in values.items() if value is not None}


def json_value(value: Any) -> Any:
    """Return ``value`` for JSON or a query, with a time as text."""
    return value.isoformat() if isinstance(value, datetime) else value


def form_text(value: Any) -> str | list[str]:
    """Return ``value`` as a field of a form.

    Text stays as it is, several texts become several fields, several numbers have commas between them, and
    everything else is JSON.

    >>> form_text([1, 2.5]), form_text(["a", "b"]), form_text(True)
    ('1,2.5', ['a', 'b'], 'true')
    """
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(x, str) for x in value):
        return list(value)
    if isinstance(value, Sequence) and not isinstance(value, str) and all(map(_is_number, value)):
        return ",".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
