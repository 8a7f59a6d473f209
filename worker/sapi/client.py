"""Configures D-Wave's client, and chooses a solver."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from dwave.cloud import Client
from dwave.cloud.api.exceptions import ResourceNotFoundError
from dwave.cloud.exceptions import SolverNotFoundError

from schema.errors import Offline, ParameterError, Refused, UnknownSolver
from worker.sapi.errors import mapping_errors

_MAY_SAY_WHEN = frozenset({429, 503})  # responses that may have a Retry-After


@dataclass(frozen=True)
class Access:
    """How a solver is reached."""

    # of the emulator; None: as D-Wave's own configuration file and environment say
    endpoint: str | None = None
    token: str | None = None  # goes with the endpoint
    request_timeout_s: float = 60.0  # how long one request may take
    poll_wait_s: int = 5  # how long the server may hold a poll
    # of a request that fails, within a second. The client's default of 10 takes a minute, during which the
    # end of an outage is not noticed. After these the ledger decides about another try
    retries: int = 3
    deflates: bool = True  # problems are compressed for a distant server


class SapiClient(Client):  # type: ignore[misc]  # the client has no types
    """The client with more threads that load answers: with five, an 80 ms network allows 57 problems/s."""

    _LOAD_THREAD_COUNT = 20
    retry_after_s: float | None = None  # the last that the server has sent, with a 429 or a 503

    def create_session(self) -> Any:
        """Return a session that reads Retry-After of all responses: the client reads it of polls only."""
        session = super().create_session()
        session.hooks["response"].append(self._read_retry_after)
        _read_environment(session, self.config.endpoint)
        return session

    def _read_retry_after(self, response: Any, **_: Any) -> None:
        if response.status_code in _MAY_SAY_WHEN:
            self.retry_after_s = _seconds(response.headers.get("Retry-After"))


def _read_environment(session: Any, endpoint: str) -> None:
    """Take proxies and certificates from the environment once, not for each request."""
    settings = session.merge_environment_settings(endpoint, {}, None, None, None)
    session.proxies, session.verify, session.cert = settings["proxies"], settings["verify"], settings["cert"]
    session.trust_env = False


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
        "compress_qpu_problem_data": access.deflates,
        "cache_enabled": False,  # a graph that has changed must be seen
    }
    try:
        if access.endpoint is None:
            client: SapiClient = SapiClient.from_config(**settings)
            return client
        del settings["client"]
        return SapiClient(endpoint=access.endpoint, token=access.token or "none", **settings)
    except (ValueError, OSError) as error:
        raise Refused(
            f"no access to D-Wave's solvers: {error}. Run `dwave config create`, or set DWAVE_API_TOKEN"
        ) from None


def choose_solver(client: Client, qpu: str | None) -> Any:
    """Return a solver of ``client`` by name or features ``qpu``; if None, the configured one, or the largest
    QPU.

    Raises:
        UnknownSolver: no such solver exists.
        Unavailable: the solver does not answer or give access, or is offline.
    """
    features = dict(client.config.solver or {}) if qpu is None else _features(qpu)
    order = features.pop("order_by", "-num_active_qubits")
    features = {"qpu": True, **features}
    with mapping_errors():
        online = _list_solvers(client, order, features)
        if online:
            return online[0]
        offline = client.get_solvers(**{**features, "online": False})
    wanted = ", ".join(f"{name} {value}" for name, value in features.items() if name != "qpu") or "any QPU"
    if offline:
        raise Offline(f"solver {offline[0].name} is offline ({wanted})")
    raise UnknownSolver(f"solver not found: {wanted}. `dwave solvers --list` shows all solvers")


def _list_solvers(client: Client, order: str, features: dict[str, Any]) -> Any:
    try:
        # A gate-model solver is listed as a QPU, too, and takes no Ising problem.
        solvers = client.get_solvers(order_by=order, **features)
        return [solver for solver in solvers if "ising" in solver.supported_problem_types]
    except SolverNotFoundError:
        raise
    except ResourceNotFoundError as error:
        raise UnknownSolver(
            f"{client.config.endpoint} is not an endpoint of SAPI, which ends in /sapi/v2/: {error}"
        ) from None


def _features(qpu: str) -> dict[str, Any]:
    if not qpu.lstrip().startswith("{"):
        return {"name": qpu}
    try:
        features = json.loads(qpu)
    except ValueError as error:
        raise ParameterError(
            f"features of a solver must be one JSON object; {qpu!r} is not: {error}"
        ) from None
    if not isinstance(features, dict):
        raise ParameterError(f"features of a solver must be one JSON object, not {qpu!r}")
    return features
