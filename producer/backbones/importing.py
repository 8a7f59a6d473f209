"""Imports a backbone: a confined process checks the file, then it is stored with what was found."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from producer.backbones.onnx_files import read_onnx
from producer.backbones.queries import BackboneSummary, backbone_by_name, find_by_sha256
from producer.stack import programs
from producer.stack.programs import Program
from schema.database import Database
from schema.database.transitions import record_action
from schema.errors import AnnealqError, BackboneError, NetworkError
from schema.network.backbones import PixelScale, check_size
from schema.network.names import check_name
from schema.settings import Settings
from schema.tables import Backbone, BackboneFile

# The check may use a minute of processor time, which takes this long on a processor that fifteen share.
_PATIENCE_S = 900.0


def import_backbone(
    settings: Settings, database: Database, path: Path, name: str | None, size: int | None, scale: PixelScale
) -> BackboneSummary:
    """Have the ONNX file ``path`` checked, store it in ``database`` and return it.

    The same file under the same name is found again, if size and scale are the same, too.

    Args:
        settings: of the process that checks it.
        path: the file.
        name: of the backbone; None: that of the file.
        size: height and width of its pictures; None: that of the file, or the usual one.
        scale: of its pixels.

    Raises:
        BackboneError: the file, the name or the size cannot be used; nothing was stored.
    """
    chosen = _checked_name(name or path.stem)
    if size is not None:
        check_size(size)
    data = read_onnx(path)
    sha256 = hashlib.sha256(data).hexdigest()
    with database.reading() as session:
        if (found := _find(session, chosen, sha256, size, scale)) is not None:
            return found
    facts = _check(settings, path, data, size, scale)
    values = {
        "name": chosen,
        "sha256": sha256,
        "size": facts.pop("size"),
        "scale": {"mean": list(scale.mean), "std": list(scale.std)},
        "features": facts.pop("values"),
        "facts": facts,
    }
    with database.transaction() as session:
        if (found := _find(session, chosen, sha256, size, scale)) is not None:
            return found
        now = database.now(session)
        row = insert(Backbone).values(**values, created_at=now).returning(Backbone.id)
        backbone = session.execute(row).scalar_one()
        session.execute(insert(BackboneFile).values(backbone_id=backbone, data=data))
        record_action(session, "backbones", backbone, "imported", now=now)
        return backbone_by_name(session, chosen)


def _checked_name(name: str) -> str:
    try:
        return check_name(name)
    except NetworkError as error:
        raise BackboneError(f"{error}, by --name") from None


def _find(
    session: Session, name: str, sha256: str, size: int | None, scale: PixelScale
) -> BackboneSummary | None:
    """Return the backbone with this content; raise BackboneError if the name or the file is in use."""
    same = find_by_sha256(session, sha256)
    if same is None:
        if session.execute(select(Backbone.id).where(Backbone.name == name)).first() is not None:
            raise BackboneError(f"there is another backbone {name!r}: choose another --name")
        return None
    if same.name != name or same.scale != scale or size not in (None, same.size):
        raise BackboneError(
            f"this file is the backbone {same.name!r} with {same.size} pixels and scale {same.scale}: use "
            f"that one, or delete it first, `annealq backbones delete {same.name}`"
        )
    return same


def _check(
    settings: Settings, path: Path, data: bytes, size: int | None, scale: PixelScale
) -> dict[str, Any]:
    """Return what the confined process finds in ``data``, which was read from ``path``."""
    numbers = ",".join(map(repr, (*scale.mean, *scale.std)))
    # A copy: what is checked is what is stored, also if the file changes meanwhile.
    with tempfile.NamedTemporaryFile(prefix="annealq-", suffix=".onnx") as copy:
        copy.write(data)
        copy.flush()
        try:
            text = programs.run(
                Program.CHECK_BACKBONE, [copy.name, str(size or 0), numbers], settings, timeout_s=_PATIENCE_S
            )
        except AnnealqError as error:
            raise BackboneError(f"{path}: {error}") from None
    found: dict[str, Any] = json.loads(text)
    return found
