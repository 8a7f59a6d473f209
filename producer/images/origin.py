"""Where images came from, and how they were chosen."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class DataOrigin:
    """Where images came from, and how they were chosen: as `runs.data` and `training_sets.data` store it.

    Attributes:
        data: an absolute path, with ``:part`` for one of several sets in an .npz file; else the name of a
            data set or of an uploaded file.
        name: of the images, unless another one is asked for.
        labels: absolute path of the file of labels, also where it was found next to the images.
        sha256: of the bytes of the file ``data``; None: it is not a file.
        labels_sha256: of the bytes of the file ``labels``.
        uploaded: the images were sent, so that no file on this machine has them.
        read_as, resize, fit, invert, skip_unreadable, scale_pixels: as `producer.runs.request.RunRequest` has
            them.
        classes, limit: what was taken of the images, first the classes, then the first N.
        schedule, due_at: the schedule that read them, and the time for which it did.
        notes: what was changed or left out when they were read, for display.
    """

    data: str
    name: str
    labels: str | None = None
    sha256: str | None = None
    labels_sha256: str | None = None
    uploaded: bool = False
    read_as: str | None = None
    resize: str | None = None
    fit: str | None = None
    invert: bool = False
    skip_unreadable: bool = False
    scale_pixels: bool = False
    classes: tuple[str, ...] | None = None
    limit: int | None = None
    schedule: str | None = None
    due_at: str | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return what is known, ready for JSON."""
        return {name: value for name, value in asdict(self).items() if value not in (None, False, ())}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return what `to_dict` made ``values`` of; names that a newer version has written are left out."""
        known = {field.name: values[field.name] for field in fields(cls) if field.name in values}
        known |= {name: tuple(known[name]) for name in ("classes", "notes") if name in known}
        return cls(**known)

    def options(self) -> list[str]:
        """Return the options of `classify` and `networks train` that choose the same images of the data."""
        words = [] if self.labels is None else ["--labels", self.labels]
        if self.classes is not None:
            words += ["--classes", ",".join(self.classes)]
        if self.limit is not None:
            words += ["--limit", str(self.limit)]
        if self.read_as is not None:
            words += ["--as", self.read_as]
        if self.resize is not None:
            words += ["--resize", self.resize, *(["--fit", self.fit] if self.fit else [])]
        flags = {
            "--invert": self.invert,
            "--skip-unreadable": self.skip_unreadable,
            "--scale-pixels": self.scale_pixels,
        }
        return words + [flag for flag, is_set in flags.items() if is_set]
