"""onnxruntime as annealq sets it up: on processors only, with as many threads as asked for and no spinning.

Threads that spin while they wait take the processor from other workers, and two of them beside other work are
slower than one.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schema.errors import BackboneError

_QUIET = 4  # fatal errors only: others are raised


class BackboneSession:
    """A backbone that is ready to run."""

    def __init__(self, data: bytes, threads: int = 1) -> None:
        """Prepare the checked ONNX file ``data`` for ``threads`` threads.

        Raises:
            BackboneError: onnxruntime is not installed, or cannot use the file.
        """
        runtime = _runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = _QUIET
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        try:
            self._session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - its errors have no common class of their own
            raise BackboneError(f"onnxruntime cannot use the backbone: {_first_line(error)}") from None
        self._input = self._session.get_inputs()[0].name

    def run(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the backbone makes of ``values`` (b, 3, s, s) float32: (b, D) float32.

        Raises:
            BackboneError: it fails.
        """
        try:
            outputs = self._session.run(None, {self._input: values})
        except Exception as error:  # noqa: BLE001 - its errors have no common class of their own
            raise BackboneError(f"the backbone fails on pictures: {_first_line(error)}") from None
        features: NDArray[np.float32] = outputs[0]
        return features


def _runtime() -> Any:
    # Versions 1.29 and later send to Microsoft what they run; they are not installed with annealq.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        raise BackboneError(
            f"{error}: install what backbones need, pip install 'annealq[backbones]'"
        ) from None
    return onnxruntime


def _first_line(error: Exception) -> str:
    return f"{(str(error).strip().splitlines() or [type(error).__name__])[0]:.200}"
