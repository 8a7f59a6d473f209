"""Weights as bytes: round trips, and the refusal of damaged and dangerous files."""

from __future__ import annotations

import pickle
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import save
from safetensors.torch import save as save_torch

from schema.errors import Corrupt, NetworkError
from schema.network import weights
from schema.network.architecture import FOLDED_LAM, Architecture

ARCHITECTURE = Architecture.from_dict({"name": "tiny", "input": {"height": 2, "width": 2}, "classes": 3})


def some(seed: int = 0) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in ARCHITECTURE.shapes.items()}


@given(seed=st.integers(0, 2**32 - 1))
def test_bytes_round_trip(seed: int) -> None:
    given_ = some(seed)
    data = weights.encode(given_, ARCHITECTURE)
    again = weights.decode(data, ARCHITECTURE)
    assert set(again) == set(given_)
    assert all(np.array_equal(again[name], given_[name]) for name in given_)
    assert weights.encode(again, ARCHITECTURE) == data


def test_the_folded_penalty_is_found_among_the_bytes() -> None:
    assert weights.folded_lam(weights.encode(some(), ARCHITECTURE)) is None
    with_penalty = {**some(), FOLDED_LAM: np.array([1.5], np.float32)}
    assert weights.folded_lam(weights.encode(with_penalty, ARCHITECTURE)) == 1.5
    with pytest.raises(Corrupt, match="weights are damaged"):
        weights.folded_lam(b"")


@given(data=st.binary(max_size=200))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(NetworkError):
        weights.decode(data, ARCHITECTURE)


@given(cut=st.integers(1, 60))
def test_truncated_bytes_are_refused(cut: int) -> None:
    data = weights.encode(some(), ARCHITECTURE)
    with pytest.raises(NetworkError, match="not a valid safetensors file"):
        weights.decode(data[:-cut], ARCHITECTURE)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_never_read(protocol: int) -> None:
    with pytest.raises(NetworkError):
        weights.decode(pickle.dumps(some(), protocol=protocol), ARCHITECTURE)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_checkpoint_is_refused_with_the_way_out(zipped: bool) -> None:
    file = BytesIO()
    torch.save({"classes.weight": torch.zeros(3, 4)}, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(NetworkError, match=r"pickle.*safetensors\.torch\.save_file"):
        weights.decode(file.getvalue(), ARCHITECTURE)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (
            np.zeros((4, 3), np.float32),
            r"classes\.weight has shape \(4, 3\); the architecture needs \(3, 4\)",
        ),
        (np.zeros((3, 4), np.float64), r"classes\.weight is float64, weights are float32"),
        (np.full((3, 4), np.nan, np.float32), "NaN or infinite"),
        (np.full((3, 4), np.inf, np.float32), "NaN or infinite"),
    ],
)
def test_arrays_that_do_not_fit(array: NDArray[np.float32], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        weights.decode(save({"classes.weight": array}), ARCHITECTURE)


def test_other_names_are_listed() -> None:
    data = save({"fc.weight": np.zeros((3, 4), np.float32)})
    with pytest.raises(NetworkError, match=r"missing classes\.weight, unknown fc\.weight"):
        weights.decode(data, ARCHITECTURE)


def test_a_negative_penalty_is_refused() -> None:
    with pytest.raises(NetworkError, match=r"folded\.lam must not be negative"):
        weights.encode({**some(), "folded.lam": np.array([-1.0], np.float32)}, ARCHITECTURE)


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_file_is_read_and_named_in_errors(tmp_path: Path) -> None:
    given_ = some()
    good = write(tmp_path / "good.safetensors", weights.encode(given_, ARCHITECTURE))
    np.testing.assert_array_equal(
        weights.read(good, ARCHITECTURE)["classes.weight"], given_["classes.weight"]
    )
    cases = {
        r"nosuch\.safetensors: cannot be read: No such file": tmp_path / "nosuch.safetensors",
        r"cannot be read: Is a directory": tmp_path,
        r"nan\.safetensors: classes\.weight has NaN": write(
            tmp_path / "nan.safetensors", save({"classes.weight": np.full((3, 4), np.nan, np.float32)})
        ),
        r"huge\.safetensors: over 1,000,096 bytes.*take 48": write(
            tmp_path / "huge.safetensors", save({"classes.weight": np.zeros((600, 600), np.float32)})
        ),
    }
    for message, path in cases.items():
        with pytest.raises(NetworkError, match=message):
            weights.read(path, ARCHITECTURE)


def test_a_checkpoint_larger_than_any_weights_is_still_called_a_pickle(tmp_path: Path) -> None:
    torch.save({"optimiser": torch.zeros(600, 600)}, tmp_path / "model.pt")
    with pytest.raises(NetworkError, match=r"model\.pt: .*pickle.*safetensors\.torch\.save_file"):
        weights.read(tmp_path / "model.pt", ARCHITECTURE)


def test_types_that_numpy_lacks_are_named() -> None:
    with pytest.raises(NetworkError, match=r"BF16, not float32: save them after \.float\(\)"):
        weights.decode(save_torch({"classes.weight": torch.zeros(3, 4).bfloat16()}), ARCHITECTURE)


def test_names_from_a_file_cannot_write_control_codes() -> None:
    data = save({"\x1b[2Jfc": np.zeros((3, 4), np.float32)})
    with pytest.raises(NetworkError) as raised:
        weights.decode(data, ARCHITECTURE)
    assert str(raised.value).isprintable()
