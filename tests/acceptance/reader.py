"""Follows pages as a reader would: runs their blocks in a folder, with a home of its own.

`tests/documents.py` says how blocks are marked. The folder holds small data sets under the names that
the pages use. Port numbers are replaced by free ones, and `make` uses the environment of the tests.
"""

from __future__ import annotations

import gzip
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.documents import ROOT, Block
from tests.onnx_models import encoded, pictures

_BLOCK_S = 600
_PORTS = ("8000", "8477")
_NUMBER = re.compile(r"\d[\d,.:]*")


def write_samples(folder: Path, digits: tuple[np.ndarray, np.ndarray]) -> None:
    """Write the data sets that the pages name: digits of 8 x 8 pixels, and as large as MNIST's."""
    small, labels = digits
    large = np.pad(np.kron(small, np.ones((1, 3, 3))), ((0, 0), (2, 2), (2, 2))) * 15
    large = large.astype(np.uint8)
    for name, part in {"digits": slice(60), "validation": slice(60, 120), "test": slice(120, 160)}.items():
        np.savez(folder / f"{name}.npz", images=small[part], labels=labels[part])
    np.savez(folder / "mnist_train.npz", images=large[:200], labels=labels[:200])
    np.savez(folder / "mnist_test.npz", images=large[200:240], labels=labels[200:240])
    np.save(folder / "photos.npy", large[:30])
    np.save(folder / "labels.npy", labels[:30])
    header = {"images": (0x803, 50, 28, 28), "labels": (0x801, 50)}
    for name, data in {"images-idx3": large[:50], "labels-idx1": labels[:50]}.items():
        packed = np.array(header[name.partition("-")[0]], ">i4").tobytes() + data.astype(np.uint8).tobytes()
        (folder / f"t10k-{name}-ubyte.gz").write_bytes(gzip.compress(packed))
    rows = np.column_stack([labels[:30], small[:30].reshape(30, -1)])
    head = ",".join(["label", *(f"pixel{k}" for k in range(64))])
    np.savetxt(folder / "digits.csv", rows, "%d", delimiter=",", header=head, comments="")
    for k, (image, label) in enumerate(zip(large[:100], labels[:100], strict=True)):
        (folder / "photos" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / "photos" / str(label) / f"{k}.png")
        if k < 3:
            Image.fromarray(image).save(folder / f"{k}.png")
    (folder / "efficientnet-lite0.onnx").write_bytes(encoded())
    coloured = pictures(60)
    for k, (image, label) in enumerate(zip(coloured.images, coloured.labels, strict=True)):
        (folder / "landscapes" / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / "landscapes" / str(label) / f"{k}.png")


class Reader:
    """Runs the blocks of one page. The shell's variables and folder last from block to block."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.state = folder, folder.parent / "shell-state"
        self.ports = {name: str(_free_port()) for name in _PORTS}
        binaries = Path(sys.executable).parent
        settings = {"ANNEALQ_HOME": str(home), "HOME": str(home.parent), "ANNEALQ_WORKER_EMBEDDING_S": "5"}
        self.environment = {**os.environ, **settings, "PATH": f"{binaries}:{os.environ['PATH']}"}
        make = f"command make -C {shlex.quote(str(ROOT))} -o .venv/installed BIN={shlex.quote(str(binaries))}"
        self.prelude = f'set -euo pipefail\nmake() {{ {make} "$@"; }}\n'

    def run(self, block: Block, processes: ExitStack) -> None:
        text = self.local(block.text)
        match block.language, block.directive:
            case (_, "norun") | (("text" | "json" | "mermaid"), _):
                pass
            case (_, "file"):
                (self.folder / block.value).write_text(text)
            case ("bash", "background"):
                processes.enter_context(self._background(block, text))
            case ("bash", _):
                self.shell(block, text)
            case ("console", _):
                for command, expected in block.steps():
                    _check_output(block, self.shell(block, self.local(command)), expected)
            case ("python", _):
                (self.folder / "program.py").write_text(text)
                self.shell(block, f"{shlex.quote(sys.executable)} program.py")

    def local(self, text: str) -> str:
        """Return ``text`` with free ports in place of those that it names."""
        for name, port in self.ports.items():
            text = re.sub(rf"\b{name}\b", port, text)
        return text

    def _script(self, text: str) -> str:
        state = shlex.quote(str(self.state))
        return f"[ ! -e {state} ] || . {state}\n{self.prelude}{text}\ndeclare -px > {state}\n"

    def shell(self, block: Block, text: str) -> str:
        """Run ``text`` and return what it prints."""
        done = subprocess.run(
            ["bash", "-c", self._script(text)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_BLOCK_S,
            check=False,
        )
        assert done.returncode == 0, f"{block.place}: {text}\n{done.stdout}"
        return done.stdout

    @contextmanager
    def _background(self, block: Block, text: str) -> Iterator[None]:
        log = self.folder.parent / f"background-{block.line}.log"
        with log.open("w") as output:
            process = subprocess.Popen(
                ["bash", "-c", self.prelude + text],
                cwd=self.folder,
                env=self.environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            deadline = time.monotonic() + 120
            while block.value not in log.read_text():
                assert process.poll() is None, f"{block.place} has ended:\n{log.read_text()}"
                assert time.monotonic() < deadline, f"{block.place}: no {block.value!r} in\n{log.read_text()}"
                time.sleep(0.1)
            yield
        finally:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _check_output(block: Block, printed: str, expected: list[str]) -> None:
    """Look for the shown lines in order. Numbers and spaces may differ; `...` stands for any text."""
    rest = iter([_stable(line) for line in printed.splitlines()])
    for line in expected:
        if line.strip() == "...":
            continue  # any number of lines, none too
        parts = [re.escape(part) for part in _stable(line).split("...")]
        pattern = re.compile(".*".join(parts))
        if line.strip() and not any(pattern.fullmatch(candidate) for candidate in rest):
            pytest.fail(f"{block.place}: {line!r} is not among, or not in this order:\n{printed}")


def _stable(line: str) -> str:
    return " ".join(_NUMBER.sub("#", line).split())
