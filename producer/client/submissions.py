"""What sends images to a server: runs and calibrations."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

from .files import form_files
from .options import form_text, plain

if TYPE_CHECKING:
    from .connection import Connection
    from .files import Images, Labels
    from .options import CalibrateOptions, SubmitOptions


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
        options = {"as" if name == "read_as" else name: value for name, value in options.items()}
        form = {name: form_text(value) for name, value in options.items() if value is not None}
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        # A form without files would be sent as another content type.
        content: dict[str, Any] = {"files": files, "data": form} if files else {"json": plain(options)}
        return await self._object("POST", path, headers=headers, **content)

    async def _json(self, method: str, path: str, **content: Any) -> Any:
        answer = await self._connection.ask(method, path, **content)
        return answer.json() if answer.content else None

    async def _object(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        found: dict[str, Any] = await self._json(method, path, **content)
        return found
