"""Configures D-Wave's client."""

from __future__ import annotations

import math
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from dwave.cloud import Client
from isal import isal_zlib
from requests import PreparedRequest

from schema.errors import Refused

_QUIET = {"log": False, "warn": False, "store": False}  # we log a deprecation once a day
_POLL_WAIT_S = 5
_MAY_SAY_WHEN = frozenset({429, 503})  # responses that may have a Retry-After


@dataclass(frozen=True)
class Access:
    """How a solver is reached."""

    # of the emulator; None: as D-Wave's own configuration file and environment say
    endpoint: str | None = None
    token: str | None = None  # goes with the endpoint
    request_timeout_s: float = 60.0  # how long one request may take
    # of a request that fails, within a second. The client's default of 10 takes a minute, during which the
    # end of an outage is not noticed. After these the ledger decides about another try
    retries: int = 3
    deflates: bool = True  # problems are compressed for a distant server

    @property
    def poll_wait_s(self) -> int:
        """Return how long the server may hold a poll: never as long as a request may take."""
        return min(_POLL_WAIT_S, int(self.request_timeout_s / 2))


@dataclass(frozen=True)
class Deprecation:
    """What the service announces in the header X-Deprecation.

    Attributes:
        solver: name of the solver that was asked about; None: problems were.
        context: api, feature, parameter or solver.
        sunset: date after which it is withdrawn, YYYY-MM-DD.
    """

    solver: str | None
    context: str
    message: str
    sunset: str
    link: str | None = None


class SapiClient(Client):  # type: ignore[misc]  # the client has no types
    """The client with more threads that load answers: with five, an 80 ms network allows 57 problems/s."""

    _LOAD_THREAD_COUNT = 20
    _DEFAULT_ON_DEPRECATION_CONFIG = _QUIET
    _DEFLATES = False
    retry_after_s: float | None = None  # the last that the server has sent, with a 429 or a 503

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        """Take the arguments of the client."""
        self._deprecations: dict[Deprecation, None] = {}
        super().__init__(*arguments, **settings)

    @property
    def deprecations(self) -> tuple[Deprecation, ...]:
        """Return what the service has announced, each once."""
        return tuple(self._deprecations)

    def create_session(self) -> Any:
        """Return a session that deflates problems, and reads two headers of all responses.

        The client itself reads one of them, of polls only.
        """
        session = super().create_session()
        if self._DEFLATES:
            session.auth = deflate
        session.hooks["response"].append(self._read_retry_after)
        self._collect_deprecations(session)
        _read_environment(session, self.config.endpoint)
        return session

    @property
    def solvers_session(self) -> Any:
        """Return the client's session for definitions of solvers, which reads deprecations, too."""
        is_new = getattr(self, "_solvers_session", None) is None
        resource = super().solvers_session
        if is_new:
            resource.session.set_on_deprecation(**_QUIET)
            self._collect_deprecations(resource.session)
            _read_environment(resource.session, self.config.endpoint)
        return resource

    def _collect_deprecations(self, session: Any) -> None:
        def read(response: Any, **_: Any) -> None:
            if "X-Deprecation" in response.headers:
                solver = _asked_about(response.url)
                for found in session._parse_deprecation_messages(response):
                    self._deprecations[_deprecation(found, solver)] = None

        session.hooks["response"].append(read)

    def _read_retry_after(self, response: Any, **_: Any) -> None:
        if response.status_code in _MAY_SAY_WHEN:
            self.retry_after_s = _seconds(response.headers.get("Retry-After"))


class DeflatingClient(SapiClient):
    """A client that compresses problems, for a distant server."""

    _DEFLATES = True


def deflate(request: PreparedRequest) -> PreparedRequest:
    """Compress the problems that ``request`` submits, in place.

    The client's own compression, by zlib, takes 16 ms for a full chip, as long as programming it; this takes
    0.3 ms for the same format. An `auth` of `requests` may change a request, whose length is computed
    afterwards.
    """
    if request.method == "POST" and isinstance(request.body, bytes):
        request.body = isal_zlib.compress(request.body)
        request.headers["Content-Encoding"] = "deflate"
    return request


def _asked_about(url: str) -> str | None:
    """Return the solver whose definition was asked for at ``url``; empty for that of all solvers."""
    _, is_definition, name = urlsplit(url).path.partition("/solvers/remote")
    return name.strip("/") if is_definition else None


def _deprecation(message: Any, solver: str | None) -> Deprecation:
    context = str(getattr(message.context, "value", message.context))
    return Deprecation(solver, context, message.message, message.sunset.date().isoformat(), message.link)


def _read_environment(session: Any, endpoint: str) -> None:
    """Take proxies and certificates from the environment once, not for each request.

    A proxy cannot reach this machine's own addresses.
    """
    settings = session.merge_environment_settings(endpoint, {}, None, None, None)
    if _is_loopback(urlsplit(endpoint).hostname or ""):
        settings["proxies"] = {}
    session.proxies, session.verify, session.cert = settings["proxies"], settings["verify"], settings["cert"]
    session.trust_env = False


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _seconds(retry_after: str | None) -> float | None:
    """Return the seconds of a Retry-After header; its other form, a date, is ignored."""
    try:
        seconds = float(retry_after or "")
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def connect(access: Access) -> SapiClient:
    """Return a client for ``access``; the caller closes it.

    Raises:
        Refused: no endpoint or token is configured.
    """
    settings: dict[str, Any] = {
        "client": "base",
        "request_timeout": access.request_timeout_s,
        "poll_strategy": "long-polling",
        "poll_wait_time": access.poll_wait_s,
        "poll_pause": 0.05,  # without a pause, a server that answers 5xx gets hundreds of requests a second
        "http_retry_backoff_factor": 0.05,
        "http_retry_total": access.retries,
        "compress_qpu_problem_data": False,  # see `deflate`
        "cache_enabled": False,  # a graph that has changed must be seen
    }
    kind = DeflatingClient if access.deflates else SapiClient
    try:
        if access.endpoint is None:
            client: SapiClient = kind.from_config(**settings)
            return client
        del settings["client"]
        return kind(endpoint=access.endpoint, token=access.token or "none", **settings)
    except (ValueError, OSError) as error:
        raise Refused(
            f"no access to D-Wave's solvers: {error}. Run `dwave config create`, or set DWAVE_API_TOKEN"
        ) from None
