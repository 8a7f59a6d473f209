"""`annealq serve`: the HTTP API."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated

import typer


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; other than this machine's need an API key first.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 chooses a free port.")] = 8000,
) -> None:
    """Serve the HTTP API and the dashboard in the foreground. Runs also need workers.

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
    from producer.api.core.settings import load as load_api
    from producer.api.keys import keys
    from producer.api.load.connections import ConnectionLimits
    from producer.context import database

    api, is_private = load_api(), server.is_loopback(host)
    with database(settings) as opened, opened.reading() as session:
        has_keys = keys.exist(session, opened.now(session))
    if not has_keys and not is_private:
        raise ParameterError(
            f"without an API key anyone could use the API on {host}: add one with `annealq keys add NAME`, "
            "or omit --host"
        )
    with server.listen(host, port) as listening:
        logs.configure()
        service = Service.build(settings, api, is_private=is_private)
        if not has_keys:
            _report("until the first `annealq keys add NAME`, only programs on this machine are served")
        on_shutdown = service.progress_feed.close
        limits = ConnectionLimits(api.connections, api.connections_per_address)
        server.Server(app.build(service), listening, _report, on_shutdown, limits).run(sockets=[listening])


def _report(line: str) -> None:
    typer.echo(line, err=True)
