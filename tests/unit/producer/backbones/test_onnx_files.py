"""What could run code when it is loaded is refused unread, with the way to an ONNX file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from producer.backbones.onnx_files import read_onnx
from schema.errors import BackboneError
from schema.network.backbones import MAX_FILE_BYTES
from tests.onnx_models import encoded


def _archive(path: Path) -> bytes:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"cos\nsystem\n")
    return path.read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("model.pt2", _archive, "archive of torch"),
        ("renamed.onnx", _archive, "archive of torch"),
        ("model.pth", lambda _: b"\x80\x02}q\x00.", "is a pickle"),
        ("model.h5", lambda _: b"\x89HDF\r\n", "file of Keras"),
        ("model.bin", lambda _: encoded(), r"a backbone is a \.onnx file"),
        ("large.onnx", lambda _: bytes(MAX_FILE_BYTES + 1), "64,000,000 bytes, the most"),
    ],
)
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, name: str, content: object, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content(path))  # type: ignore[operator]
    with pytest.raises(BackboneError, match=says) as refused:
        read_onnx(path)
    assert str(path) in str(refused.value)
    assert "torch.onnx.export(" in str(refused.value) or "smaller model" in str(refused.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"absent\.onnx: cannot be read: No such file"):
        read_onnx(tmp_path / "absent.onnx")
