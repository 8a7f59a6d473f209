"""What sends work to a server: runs, calibrations, networks and dry runs; and waits for all but runs."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack
from urllib.parse import quote

from .errors import WorkFailed
from .files import form_files, weights_file
from .options import form_text, plain

if TYPE_CHECKING:
    from .connection import Connection
    from .files import Images, Labels, Source
    from .options import CalibrateOptions, DryRunOptions, SubmitOptions, TrainOptions

OnProgress: TypeAlias = Callable[[dict[str, Any]], None]
"""Called with what is waited for, whenever it has changed."""

_READY, _FAILED = "ready", "failed"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 5.0


class Submissions:
    """Requests that send images to one server, and what all requests share."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def submit(
        self,
        images: Images | None = None,
        labels: Labels | None = None,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[SubmitOptions],
    ) -> int:
        """Send images as a run, and return its number.

        The request is repeated until it is answered; its key makes sure that there is one run.

        Args:
            images: an array (N, H, W); the path of a file in any format that the server reads, or of a folder
                with a subfolder of pictures for each class; the bytes of a file, or an open file; or a list
                of paths or bytes of pictures. Without them, ``uri`` names a file of the server.
            labels: (N,) numbers, one class for each image; or a file of them.
            idempotency_key: a second run with the same key and request is not created; random by default.
            options: as in POST /v1/runs: network, solver, reads, priority, budget_s, webhook ...

        Raises:
            UnusableImages: a file cannot be read, or the images are not numbers.
        """
        return int((await self._send("/v1/runs", images, labels, idempotency_key, options))["run_id"])

    async def calibrate(
        self,
        images: Images | None = None,
        labels: Labels | None = None,
        *,
        idempotency_key: str | None = None,
        **options: Unpack[CalibrateOptions],
    ) -> int:
        """Calibrate a network on labelled images, and return the number of the calibration.

        Workers do all of it: `calibration` shows how far they are, and what they found.

        Args:
            images, labels: as for `submit`.
            idempotency_key: a second calibration with the same key and request is not created; random by
                default.
            options: as in POST /v1/calibrations: network, solver, budget_s, reads, lam ...

        Raises:
            UnusableImages: a file cannot be read, or the images are not numbers.
        """
        sent = await self._send("/v1/calibrations", images, labels, idempotency_key, options)
        return int(sent["calibration_id"])

    async def wait_for_calibration(
        self, calibration: int, *, timeout_s: float | None = None, on_progress: OnProgress | None = None
    ) -> dict[str, Any]:
        """Return ``calibration`` with its `parameters`, once it is ready.

        Args:
            timeout_s: seconds after which to stop waiting; None: never.
            on_progress: called with the calibration whenever it has changed.

        Raises:
            WorkFailed: it failed.
            TimeoutError: it is not ready in time; it continues.
        """
        path, what = f"/v1/calibrations/{calibration}", f"calibration {calibration}"
        return await self._ready(path, what, timeout_s, on_progress)

    async def train(
        self, images: Images | None = None, labels: Labels | None = None, **options: Unpack[TrainOptions]
    ) -> str:
        """Train a network on labelled images, and return its NAME@VERSION; the key needs scope admin.

        Workers do it: `wait_for_network` returns the network once it is trained. The same training again is
        the same network.

        Args:
            images, labels: as for `submit`.
            options: as in POST /v1/networks: name, architecture, epochs ...

        Raises:
            UnusableImages: a file cannot be read, or the images are not numbers.
        """
        files = await self._connection.transport.call(lambda: form_files(images, labels))
        return await self._add(files, options)

    async def add_network(
        self,
        weights: Source,
        *,
        architecture: str | Mapping[str, Any],
        name: str | None = None,
        classes: Sequence[str] | None = None,
        transfer: str | None = None,
    ) -> str:
        """Add a network that was trained elsewhere, and return its NAME@VERSION; the key needs scope admin.

        A network with the same content is not added again.

        Args:
            weights: the path, the bytes or an open file in the format safetensors, arrays named as in torch.
            architecture: a preset; layers; or the content of the .json of an exported network.
            name: of the network; None: that of the architecture.
            classes: their names; None: those of the architecture.
            transfer: energy or paper, how it was trained; None: energy.

        Raises:
            UnusableImages: the file cannot be read.
        """
        file = await self._connection.transport.call(lambda: weights_file(weights))
        named = None if classes is None else ",".join(classes)
        given = {"architecture": architecture, "name": name, "classes": named, "transfer": transfer}
        return await self._add([("weights", file)], given)

    async def wait_for_network(
        self, name: str, *, timeout_s: float | None = None, on_progress: OnProgress | None = None
    ) -> dict[str, Any]:
        """Return the network NAME@VERSION, or the newest NAME, once it is trained.

        Args:
            timeout_s: seconds after which to stop waiting; None: never.
            on_progress: called with the network whenever it has changed.

        Raises:
            WorkFailed: its training failed.
            TimeoutError: it is not ready in time; its training continues.
        """
        path = f"/v1/networks/{quote(name, safe='@')}"
        return await self._ready(path, f"network {name}", timeout_s, on_progress)

    async def dry_run(
        self,
        *,
        network: str,
        solver: str,
        images: int = 0,
        timeout_s: float | None = None,
        on_progress: OnProgress | None = None,
        **options: Unpack[DryRunOptions],
    ) -> dict[str, Any]:
        """Return what a run on a solver with qubits would need and cost; nothing is charged.

        A worker finds an embedding, which later runs use. The `plan` of what is returned has it, with
        problems and QPU time.

        Args:
            network: NAME or NAME@VERSION.
            solver: emulator or dwave.
            images: their number; 0: only the embedding is wanted.
            timeout_s: seconds after which to stop waiting; None: never.
            on_progress: called with the dry run whenever it has changed.
            options: parameters of the run, as for `submit`.

        Raises:
            WorkFailed: the solver refuses it, or it has no embedding.
            TimeoutError: it is not ready in time; it continues.
        """
        asked = {"network": network, "solver": solver, "images": images} | plain(options)
        made = await self._object("POST", "/v1/dry-runs", json=asked)
        number = made["preparation_id"]
        return await self._ready(f"/v1/dry-runs/{number}", f"dry run {number}", timeout_s, on_progress)

    async def _add(self, files: list[tuple[str, Any]], options: Mapping[str, Any]) -> str:
        """Send a network, and return its NAME@VERSION."""
        form = _form(options)
        fields = [(name, (None, text)) for name, value in form.items() for text in _texts(value)]
        added = await self._object("POST", "/v1/networks", files=[*files, *fields])
        return f"{added['name']}@{added['version']}"

    async def _ready(
        self, path: str, what: str, timeout_s: float | None, on_progress: OnProgress | None
    ) -> dict[str, Any]:
        """Return what is at ``path``, called ``what`` in errors, once it is ready."""
        deadline = time.monotonic() + (float("inf") if timeout_s is None else timeout_s)
        before, pause_s = dict[str, Any](), _FIRST_PAUSE_S
        while True:
            found = await self._object("GET", path)
            if on_progress is not None and found != before:
                on_progress(found)
            if found["state"] == _READY:
                return found
            if found["state"] == _FAILED:
                raise WorkFailed(f"{what} failed: {found.get('error') or 'no reason given'}")
            pause_s = _FIRST_PAUSE_S if found != before else min(1.5 * pause_s, _LONGEST_PAUSE_S)
            if time.monotonic() + pause_s > deadline:
                raise TimeoutError(f"{what} is {found['state']}: wait longer")
            before = found
            await self._connection.transport.sleep(pause_s)

    async def _send(
        self,
        path: str,
        images: Images | None,
        labels: Labels | None,
        idempotency_key: str | None,
        options: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Send images with options in a form, or in JSON without images."""
        files = await self._connection.transport.call(lambda: form_files(images, labels))
        options = _as_sent(options)
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        # A form without files would be sent as another content type.
        content: dict[str, Any] = (
            {"files": files, "data": _form(options)} if files else {"json": plain(options)}
        )
        return await self._object("POST", path, headers=headers, **content)

    async def _json(self, method: str, path: str, **content: Any) -> Any:
        answer = await self._connection.ask(method, path, **content)
        return answer.json() if answer.content else None

    async def _object(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        found: dict[str, Any] = await self._json(method, path, **content)
        return found


def _as_sent(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``options`` by the names of the API."""
    return {"as" if name == "read_as" else name: value for name, value in options.items()}


def _form(options: Mapping[str, Any]) -> dict[str, str | list[str]]:
    return {name: form_text(value) for name, value in _as_sent(options).items() if value is not None}


def _texts(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
