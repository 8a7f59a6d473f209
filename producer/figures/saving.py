"""Writes figures to files by their suffix, and checks that matplotlib is installed."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from producer.files import replacing
from schema.errors import ParameterError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150


def require_matplotlib() -> None:
    """Raise ParameterError if figures cannot be drawn."""
    if find_spec("matplotlib") is None:
        raise ParameterError("figures need matplotlib: pip install 'annealq[plots]', or leave out --output")


def save_png(figure: Figure, path: Path) -> None:
    """Write ``figure`` to ``path`` as a PNG on a white background."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    figure.savefig(path, format="png", dpi=DPI, facecolor="white")


FORMATS = {".png": {"Software": None}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}


def check_format(path: Path) -> None:
    """Raise ParameterError unless a figure can be written to ``path``."""
    if path.suffix.lower() not in FORMATS:
        raise ParameterError(f"{path} is not a figure: name a file with {', '.join(FORMATS)}")
    if find_spec("matplotlib") is None:
        raise ParameterError("a figure needs matplotlib: pip install 'annealq[plots]'")


def save(path: Path, draw: Callable[[], Figure]) -> None:
    """Write the figure of ``draw`` atomically to ``path``, by its suffix.

    Raises:
        ParameterError: as `check_format`, or the file cannot be written.
        StorageError: no space is left.
    """
    check_format(path)
    from matplotlib import rc_context

    suffix = path.suffix.lower()
    buffer = BytesIO()
    metadata: dict[str, Any] = FORMATS[suffix]
    with rc_context({"svg.hashsalt": "annealq"}):  # the same arrays give the same file
        draw().savefig(buffer, format=suffix[1:], metadata=metadata)
    with replacing(path) as unfinished:
        unfinished.write_bytes(buffer.getvalue())
