"""Loads backbones from the database, once in each process."""

from __future__ import annotations

import hashlib
from typing import Any

from cachetools import LRUCache
from sqlalchemy import select
from sqlalchemy.orm import Session

from schema.codecs.corruption import stored_in
from schema.errors import Corrupt, NotFound
from schema.tables import Backbone, BackboneFile
from worker.backbones.session import BackboneSession

_LOADED = 2  # each holds its weights in memory
_HINT = "delete it and import its file again"


class BackboneCache:
    """Backbones that are ready to run, by row and threads. A row never changes, so an entry stays valid."""

    def __init__(self) -> None:
        self._loaded: LRUCache[tuple[int, int], BackboneSession] = LRUCache(maxsize=_LOADED)

    def get(self, session: Session, backbone: int, threads: int) -> BackboneSession:
        """Return ``backbone`` for ``threads`` threads from the cache, or load it through ``session``.

        Raises:
            NotFound: the backbone does not exist.
            Corrupt: its file does not agree with its checksum.
            BackboneError: onnxruntime is not installed here.
        """
        key = (backbone, threads)
        if key not in self._loaded:
            self._loaded[key] = BackboneSession(_file(session, backbone), threads)
        return self._loaded[key]


def _file(session: Session, backbone: int) -> bytes:
    row: Any = session.execute(
        select(BackboneFile.data, Backbone.sha256, Backbone.name)
        .join(Backbone, Backbone.id == BackboneFile.backbone_id)
        .where(Backbone.id == backbone)
    ).first()
    if row is None:
        raise NotFound(f"backbone {backbone} does not exist: import its file, `annealq backbones import`")
    with stored_in(f"file of backbone {row.name!r}", _HINT):
        if hashlib.sha256(row.data).hexdigest() != row.sha256:
            raise Corrupt("it is damaged: its checksum does not agree")
    data: bytes = row.data
    return data
