"""Describes a bundle for archives: `ro-crate-metadata.json`, as RO-Crate 1.1 (w3id.org/ro/crate/1.1)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from worker.proof import documents
from worker.proof.documents import NetworkDocument, RunDocument

_CONTEXT = "https://w3id.org/ro/crate/1.1/context"
_PROFILE = {"@id": "https://w3id.org/ro/crate/1.1"}
_MEDIA = {"json": "application/json"}
_RAW = "application/octet-stream"
_SAID = {
    documents.RUN: "What was asked for, and the statistics of the run",
    documents.NETWORK: "The network that classified, but for its weights",
    documents.WEIGHTS: "Weights of the network, as safetensors",
    documents.CALIBRATION: "The calibration that the parameters are from",
    documents.NONCONFORMITY: "Nonconformity of the images that were calibrated with",
    documents.CHIPS: "Working graphs of the solver: properties",
    documents.EMBEDDINGS: "Embeddings of the network",
    documents.BATCHES: "Batches of images, with their labels and the SHA-256 of their pixels",
    documents.PROBLEMS: "Ledger: each problem, its times and its charge",
    documents.RESULTS: "Class, scores and certainty of each image, as safetensors",
}
_FOLDERS = {
    "features": "Feature values of images, planes of float32: the linear part of their problems",
    "images": "Values of images, row by row, little-endian",
    "reads": "Raw reads of a problem, in another order of bits",
    "chips": "Qubits and couplers of a working graph",
    "embeddings": "Chains of an embedding",
}


def crate(run: RunDocument, network: NetworkDocument, names: Iterable[str], license_: str) -> dict[str, Any]:
    """Return the metadata of a bundle of ``run`` with the files ``names``.

    Args:
        license_: URL of the licence under which it is published, or words.
    """
    files = sorted(names)
    text = (
        f"Run of annealq that classified {run.images} images by network {network.name}@{network.version} "
        f"with solver {run.solver}. `annealq verify` computes its results again."
    )
    return {
        "@context": _CONTEXT,
        "@graph": [
            {
                "@id": documents.CRATE,
                "@type": "CreativeWork",
                "about": {"@id": "./"},
                "conformsTo": _PROFILE,
            },
            {
                "@id": "./",
                "@type": "Dataset",
                "name": f"annealq run: {run.name}",
                "description": text,
                "datePublished": run.finished_at,
                "license": {"@id": license_ if _is_address(license_) else "#license"},
                "hasPart": [{"@id": name} for name in files],
                "mentions": {"@id": "#run"},
            },
            {
                "@id": license_ if _is_address(license_) else "#license",
                "@type": "CreativeWork",
                "name": license_,
                "description": license_,
            },
            {
                "@id": "#run",
                "@type": "CreateAction",
                "name": f"Classification of {run.name}",
                "startTime": run.started_at or run.created_at,
                "endTime": run.finished_at,
                "instrument": {"@id": "#annealq"},
                "result": {"@id": documents.RESULTS},
            },
            {
                "@id": "#annealq",
                "@type": "SoftwareApplication",
                "name": "annealq",
                "version": run.annealq,
                "softwareVersion": run.annealq,
                "identifier": f"sha256:{run.sources_sha256}",
            },
            *({"@id": name, "@type": "File", **_file(name)} for name in files),
        ],
    }


def _file(name: str) -> dict[str, str]:
    folder = name.partition("/")[0]
    described = _SAID.get(name) or _FOLDERS.get(folder, name)
    return {
        "name": name,
        "description": described,
        "encodingFormat": _MEDIA.get(name.rpartition(".")[2], _RAW),
    }


def _is_address(text: str) -> bool:
    return text.startswith(("http://", "https://"))
