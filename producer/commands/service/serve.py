"""`annealq serve`: the HTTP API."""

from __future__ import annotations

import functools
from importlib.util import find_spec
from typing import Annotated

import typer


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; other than this machine's need an API key first.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 chooses a free port.")] = 8000,
    no_auth: Annotated[
        bool,
        typer.Option("--no-auth", help="Let every program on this machine do everything without a key."),
    ] = False,
) -> None:
    """Serve the HTTP API and the dashboard in the foreground. Runs also need workers.

    On this machine, the token of `annealq keys token` is a key of scope admin; the printed link has it.

    Example: `annealq serve --port 8000`.
    """
    from schema.errors import ParameterError, StackError
    from schema.settings import load

    settings = load()  # a wrong setting is refused before the web framework is imported
    if missing := [
        name for name in ("fastapi", "uvicorn", "httpx", "standardwebhooks") if find_spec(name) is None
    ]:
        raise StackError(f"the API needs {', '.join(missing)}: pip install 'annealq[serve]'")
    from producer.api import app, server
    from producer.api.core import logs
    from producer.api.core.service import Service
    from producer.api.keys import keys, local_token
    from producer.api.keys.authentication import LocalAccess
    from producer.api.load.connections import ConnectionLimits
    from producer.context import database
    from producer.stack import programs
    from schema.settings import load_api

    api, is_private = load_api(), server.is_loopback(host)
    with database(settings) as opened, opened.reading() as session:
        has_keys = keys.exist(session, opened.now(session))
    if no_auth and not is_private:
        raise ParameterError(f"--no-auth is for this machine alone, not for {host}: omit it, or omit --host")
    if not has_keys and not is_private:
        raise ParameterError(
            f"without an API key anyone could use the API on {host}: add one with `annealq keys add NAME`, "
            "or omit --host"
        )
    with programs.forked(), server.listen(host, port) as listening:
        logs.configure()
        token = local_token.read_or_create(settings.home) if is_private and not no_auth else None
        service = Service.build(settings, api, LocalAccess(token, is_open=no_auth))
        on_shutdown = service.progress_feed.close
        limits = ConnectionLimits(api.connections, api.connections_per_address)
        report = functools.partial(_report, token, no_auth)
        server.Server(app.build(service), listening, report, on_shutdown, limits).run(sockets=[listening])


def _report(token: str | None, no_auth: bool, address: str) -> None:
    text = f"annealq serves at {address}; documentation: {address}/docs; stop with Ctrl-C"
    if token is not None:
        text += f"\nopen {address}/?token={token} in a browser; for programs: annealq keys token"
    if no_auth:
        text += "\nno key is needed: every program on this machine, of any user, may do everything"
    typer.echo(text, err=True)
