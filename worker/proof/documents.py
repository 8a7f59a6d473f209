"""What the JSON files of a bundle say, as models; all of them are strict, and refuse unknown fields."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from schema.errors import AnnealqError
from worker.proof.container import plain_json
from worker.proof.container.archive import BundleArchive, DamagedPart

RUN, NETWORK, WEIGHTS = "run.json", "network.json", "network.safetensors"
CALIBRATION, NONCONFORMITY = "calibration.json", "calibration.aqn"
CHIPS, EMBEDDINGS, BATCHES, PROBLEMS = "chips.json", "embeddings.json", "batches.json", "problems.json"
RESULTS, CRATE = "results.safetensors", "ro-crate-metadata.json"

Kind = TypeVar("Kind")
Count = Annotated[int, Field(ge=0, lt=2**31)]
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(max_length=10_000)]
Time = Annotated[str, Field(max_length=40)]  # ISO 8601


class Document(BaseModel):
    """Base of all models of a bundle."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RunDocument(Document):
    """The run: what was asked for, and what its statistics said."""

    name: Text
    solver: Text
    parameters: dict[str, Any]  # see `schema.parameters.Parameters`
    # Of the run that drew the reads, if this one scores them again.
    sampled_with: dict[str, Any] | None
    network: Text
    state: Text
    qpu: Text | None
    graph_id: Text | None
    images: Count
    labelled: bool
    content_sha256: Hex
    created_at: Time
    started_at: Time | None
    finished_at: Time
    budget_us: int | None
    error: Text | None
    statistics: dict[str, Any] | None
    spent_us: dict[str, float]  # by day (UTC)
    annealq: Text  # version of the code that wrote the bundle
    sources_sha256: Hex  # of that code

    @property
    def sampled(self) -> dict[str, Any]:
        """Return the parameters by which its reads were drawn."""
        return self.parameters if self.sampled_with is None else self.sampled_with


class NetworkDocument(Document):
    """The network, but for its weights."""

    name: Text
    version: Count
    content_sha256: Hex
    weights_sha256: Hex
    architecture: dict[str, Any]
    training: dict[str, Any]
    classes: list[Text]
    metrics: dict[str, Any] | None


class CalibrationDocument(Document):
    """The calibration that the run used."""

    parameters: dict[str, Any] | None
    accuracy: float | None
    measured: dict[str, Any] | None
    images: Count
    graph_id: Text
    finished_at: Time | None


class ChipDocument(Document):
    """A working graph; its qubits and couplers are a file of their own."""

    solver: Text
    name: Text
    graph_id: Text
    properties: dict[str, Any]
    qubits: Annotated[int, Field(gt=0, lt=2**20)]
    couplers: Annotated[int, Field(gt=0, lt=2**24)]


class EmbeddingDocument(Document):
    """An embedding; its chains are a file of their own."""

    chip: Count  # index of the chip
    graph_sha256: Hex
    seconds: float | None
    method: Text | None
    seed: int | None


class BatchDocument(Document):
    """A batch of images."""

    first_image: Count
    count: Annotated[int, Field(gt=0, lt=2**31)]
    shape: Text
    dtype: Text
    round: Annotated[int, Field(gt=0)]
    reads: Count | None  # of each image; None: as the parameters say
    sampled_reads: Count | None  # the same of the run that drew the reads
    members: list[Count] | None
    labels: list[Annotated[int, Field(ge=0, lt=2**15)]] | None
    images_sha256: Hex
    state: Text
    embedding: Count | None
    embedding_s: float | None
    sampling_us: int | None
    qpu: Text | None
    created_at: Time
    started_at: Time | None
    sampled_at: Time | None
    scored_at: Time | None
    error: Text | None


class ProblemDocument(Document):
    """A problem of the ledger."""

    batch: Count  # index of the batch
    ordinal: Count
    first_image: Count  # within the batch
    count: Annotated[int, Field(gt=0, lt=2**31)]
    first_tile: Count
    label: Text
    sapi_id: Text | None
    embedding: Count | None  # index of the embedding
    graph_id: Text | None
    qpu: Text | None
    state: Text
    scale: float | None
    chain_strength: float | None
    coupling_bias: float | None
    sent_sha256: Hex | None  # of h and J as they were sent; see `worker.sapi.wire.problem_digest`
    times_sent: Count
    adopted: bool
    duplicates: Count
    reads: Count | None  # of each image, if it has an answer
    timing: dict[str, Any] | None
    estimated_us: int | None
    charged_us: float | None
    charge_estimated: bool
    wasted_us: float
    measured: dict[str, Any] | None
    reserved_at: Time
    sending_at: Time | None
    sent_at: Time | None
    answered_at: Time | None
    error: Text | None


def read(archive: BundleArchive, name: str, kind: type[Kind]) -> Kind:
    """Read the file ``name`` of ``archive`` as ``kind``, a model or a list of models.

    Raises:
        DamagedPart: it says something else.
    """
    value = plain_json.decode(name, archive.content(name))
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))[:80]
        raise DamagedPart(name, f"has a wrong value at {where or 'its top'}: {first['msg'][:100]}") from None


@contextmanager
def in_file(name: str) -> Iterator[None]:
    """Raise DamagedPart, which names the file ``name``, instead of other errors of what it says."""
    try:
        yield
    except DamagedPart:
        raise
    except (AnnealqError, ValueError, TypeError, KeyError) as error:
        raise DamagedPart(name, f"cannot be used: {error!s:.300}") from None


def timestamp(name: str, text: str | None) -> float:
    """Return the time ``text`` of the file ``name``, in seconds since the epoch; raise DamagedPart."""
    moment = None
    with suppress(ValueError):
        moment = datetime.fromisoformat(text or "")
    if moment is None or moment.tzinfo is None:
        raise DamagedPart(name, f"has no time where one belongs: {text!r:.60}")
    return moment.timestamp()


def features_file(batch: int) -> str:
    """Return the name of the features of the images of the batch of that index."""
    return f"features/{batch:06}.planes"


def alone_file(batch: int) -> str:
    """Return the name of the features of those images that were read again, computed one by one."""
    return f"features/{batch:06}-alone.planes"


def images_file(batch: int) -> str:
    """Return the name of the images of the batch of that index."""
    return f"images/{batch:06}.raw"


def reads_file(problem: int) -> str:
    """Return the name of the raw reads of the problem of that index."""
    return f"reads/{problem:06}.reads"


def chip_file(chip: int) -> str:
    """Return the name of the qubits and couplers of the chip of that index."""
    return f"chips/{chip:06}.graph"


def tiling_file(embedding: int) -> str:
    """Return the name of the chains of the embedding of that index."""
    return f"embeddings/{embedding:06}.aqt"
