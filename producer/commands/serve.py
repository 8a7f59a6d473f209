"""`annealq serve`: the HTTP API."""

from __future__ import annotations

from typing import Annotated

import typer


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine's need a key first.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 8000,
) -> None:
    """Serve the HTTP API in the foreground; it says where. It needs a database, and workers for the work."""
    from importlib.util import find_spec

    from schema.errors import StackError

    if missing := [name for name in ("fastapi", "uvicorn", "httpx") if find_spec(name) is None]:
        raise StackError(f"the API needs {', '.join(missing)}: pip install 'annealq[serve]'")
    from producer.api.core.settings import load as load_api
    from producer.api.server import run
    from schema.settings import load

    run(load(), load_api(), host, port, tell=lambda line: typer.echo(line, err=True))
