"""The manifest of a bundle: the digests of all files, and the root of the Merkle tree over them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from worker.proof.container import merkle, plain_json, signature
from worker.proof.container.archive import BundleArchive, BundleFile, DamagedPart

NAME = "manifest.json"
FORMAT, VERSION = "annealq bundle", 1


@dataclass(frozen=True)
class Integrity:
    """What the bytes of a bundle say, whatever they mean.

    Attributes:
        root: of the files as they are, in hex.
        signed_by: public key of the signature, in hex; None: not signed.
        damages: parts that are not as they were written.
    """

    root: str
    signed_by: str | None
    damages: tuple[DamagedPart, ...]


def record(member: BundleFile, content: bytes, stored: bytes) -> dict[str, Any]:
    """Return what the manifest says about a file: ``content``, and how it is ``stored``."""
    return {
        "path": member.name,
        "size": member.size,
        "sha256": hashlib.sha256(content).hexdigest(),
        "stored_size": member.stored,
        "stored_sha256": hashlib.sha256(stored).hexdigest(),
        "method": member.method,
    }


def manifest(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the manifest of files by their ``records``, in their order."""
    root = merkle.root([plain_json.encode(each) for each in records]).hex()
    return {"format": FORMAT, "version": VERSION, "files": list(records), "root": root}


def check(archive: BundleArchive) -> Integrity:
    """Compare all bytes of ``archive`` with its manifest, and check its signature.

    Raises:
        DamagedPart: the manifest cannot be read, or is of another version.
    """
    data = archive.content(NAME)
    said = plain_json.decode(NAME, data)
    _check_form(said)
    damages, records = [], []
    for name, member in archive.members.items():
        if name in (NAME, signature.NAME):
            continue
        stored = archive.stored(name)
        try:
            records.append(record(member, archive.content(name), stored))
        except DamagedPart as damage:
            damages.append(damage)
            records.append(record(member, b"", stored))
    found = manifest(records)
    if found != said and not damages:
        damages += _differences(found, said)
    signed_by = None
    if signature.NAME in archive.members:
        try:
            signed = plain_json.decode(signature.NAME, archive.content(signature.NAME))
            signed_by = signature.check(signed, found["root"])
        except DamagedPart as damage:
            damages += [] if damages and found != said else [damage]
    return Integrity(found["root"], signed_by, tuple(damages))


def _check_form(said: Any) -> None:
    if not isinstance(said, dict) or said.get("format") != FORMAT or "files" not in said:
        raise DamagedPart(NAME, "is not the manifest of a bundle")
    if said.get("version") != VERSION:
        raise DamagedPart(NAME, f"is of version {said.get('version')!r:.20}, this annealq reads {VERSION}")
    if not isinstance(said["files"], list) or not all(isinstance(each, dict) for each in said["files"]):
        raise DamagedPart(NAME, "does not list files")


def _differences(found: dict[str, Any], said: dict[str, Any]) -> list[DamagedPart]:
    """Return what differs between the manifest of the files as they are, ``found``, and what it ``said``."""
    if found["root"] == said.get("root"):  # so the files are as they were
        return [DamagedPart(NAME, f"is not that of its files: {_fields(found, said)}")]
    theirs = {str(each.get("path")): each for each in said["files"]}
    damages = []
    for each in found["files"]:
        other = theirs.pop(each["path"], None)
        if other is None:
            damages.append(DamagedPart(each["path"], "is not in the manifest"))
        elif other != each:
            fields = ", ".join(name for name in each if each[name] != other.get(name))
            damages.append(DamagedPart(each["path"], f"differs from the manifest: {fields}"))
    damages += [DamagedPart(path[:60], "is in the manifest, and not in the bundle") for path in theirs]
    return damages or [DamagedPart(NAME, f"is not that of its files: {_fields(found, said)}")]


def _fields(found: dict[str, Any], said: dict[str, Any]) -> str:
    if found["files"] == said["files"]:
        return ", ".join(name for name in (*found, *said) if found.get(name) != said.get(name))[:100]
    pairs = zip(found["files"], said["files"], strict=False)
    first = next((each["path"] for each, other in pairs if each != other), "its length")
    return f"the entry of {first}"
