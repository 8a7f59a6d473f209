"""Configures D-Wave's client."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from dwave.cloud import Client
from isal import isal_zlib
from requests import PreparedRequest, Request, Response, Session

from schema.errors import Refused

_QUIET = {"log": False, "warn": False, "store": False}  # we log a deprecation once a day
_POLL_WAIT_S = 5
_OF_PLAIN = frozenset({"headers", "allow_redirects"})  # options of a request without any other
_PLAIN_URL = re.compile(r"https?://[\w.:\[\]/-]+(\?[\w=&,-]*)?", re.ASCII)  # nothing in it is to be quoted
_PIECE_BYTES = 1 << 20  # of a response, read at a time
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


class _PlainRequests(Session):
    """Prepares once what all polls and loads of a session have in common; the rest is as in `requests`.

    Preparing and reading an answer in pieces of 10 kB takes `requests` a third of a load. A session of the
    client sends its requests from one thread, to one service, and with the same headers.
    """

    _prepared: tuple[dict[str, str], PreparedRequest] | None = None

    def request(self, method: Any, url: Any, *arguments: Any, **options: Any) -> Response:
        """Send a request as `requests.Session.request` does; a plain GET takes the short way."""
        headers = options.get("headers") or {}
        given = {name for name, value in options.items() if value is not None}
        is_plain = method == "GET" and not arguments and given <= _OF_PLAIN and _PLAIN_URL.fullmatch(url)
        if not is_plain or self.cookies or self.trust_env:
            return super().request(method, url, *arguments, **options)
        if self._prepared is None or self._prepared[0] != headers:
            self._prepared = headers, self.prepare_request(Request(method, url, headers=headers))
        alike = self._prepared[1]
        request = PreparedRequest()
        request.method, request.url, request.headers, request.hooks = method, url, alike.headers, alike.hooks
        request._cookies = alike._cookies
        send = {"verify": self.verify, "cert": self.cert, "proxies": self.proxies}
        allow_redirects = options.get("allow_redirects", True)
        response = self.send(request, stream=True, timeout=None, allow_redirects=allow_redirects, **send)
        response._content = b"".join(response.iter_content(_PIECE_BYTES))
        return response


class _SapiSession(Client._Session, _PlainRequests):  # type: ignore[misc]  # the client has no types
    """The client's session, which looks at each kind of a response's `Content-Type` once."""

    _valid: frozenset[tuple[str | None, ...]] = frozenset()

    def _validate_response_content_type(self, response: Response) -> None:
        kind = (response.headers.get("Content-Type"), self._media_type, self._accept_version)
        if kind not in self._valid:
            super()._validate_response_content_type(response)
            if response.ok:
                self._valid |= {kind}


class SapiClient(Client):  # type: ignore[misc]  # the client has no types
    """The client with more threads that load answers: with five, an 80 ms network allows 57 problems/s."""

    _Session = _SapiSession
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
