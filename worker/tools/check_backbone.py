"""Checks an ONNX file in a confined process: `python -m worker.tools.check_backbone FILE SIZE SCALE`.

SIZE is in pixels, 0 for that of the file, or the usual one. It prints one JSON object: size, values, seconds
(of a processor for one picture), nodes, parameters and operators. The libraries are imported before the
process is confined, and the file is parsed afterwards.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from schema.errors import BackboneError, ParameterError
from schema.network.backbones import (
    MAX_FILE_BYTES,
    SCALES,
    USUAL_SCALE,
    USUAL_SIZE,
    PixelScale,
    check_size,
)
from schema.shapes import BACKBONE_SIZES
from worker.tools import entry


def check(data: bytes, size: int, scale: PixelScale) -> dict[str, object]:
    """Check the file ``data`` for pictures of ``size`` pixels, 0: as the file says; return what it is.

    Raises:
        BackboneError: it cannot be a backbone.
    """
    from worker.backbones.dry_run import try_out
    from worker.backbones.model_check import check_model, check_sizes

    facts = check_model(data)
    if facts.size is not None and size not in (0, facts.size):
        raise BackboneError(
            f"the file takes pictures of {facts.size} x {facts.size} pixels: use --size {facts.size}"
        )
    size = check_size(facts.size or size or USUAL_SIZE)
    check_sizes(data, size)
    tried = try_out(data, size, scale)
    found = asdict(facts)
    return {name: found[name] for name in ("nodes", "parameters", "operators")} | {
        "size": size,
        "values": tried.values,
        "seconds": tried.seconds,
    }


def _warm_up() -> None:
    """Check a small file of our own, so that everything is imported as long as files can be opened."""
    try:
        from onnx import TensorProto, helper
    except ImportError as error:
        raise BackboneError(
            f"{error}: install what backbones need, pip install 'annealq[backbones]'"
        ) from None
    node = helper.make_node("ReduceMean", ["pixels"], ["features"], axes=[2, 3], keepdims=0)
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["b", 3, "h", "w"])
    features = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["b", 3])
    graph = helper.make_graph([node], "warm-up", [pixels], [features])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    check(model.SerializeToString(), BACKBONE_SIZES[0], SCALES[USUAL_SCALE])


def main() -> None:
    """Print what the file is that the command line names."""
    if len(sys.argv) != 4 or not sys.argv[2].isdecimal():
        raise ParameterError("usage: python -m worker.tools.check_backbone FILE SIZE SCALE")
    size, scale = int(sys.argv[2]), PixelScale.parse(sys.argv[3])
    with Path(sys.argv[1]).open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    _warm_up()
    from worker.backbones.confinement import confine

    confine()
    try:
        found = check(data, size, scale)
    except MemoryError:
        raise BackboneError(
            "the file needs more memory than a check may use: choose a smaller --size"
        ) from None
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    entry.run(main)
