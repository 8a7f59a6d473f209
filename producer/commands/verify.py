"""`annealq verify` and `annealq runs bundle`: all that a run rests on as one file, and what that proves."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from producer.commands.shared import options as o

_HELP = """Verify a bundle: compute what it claims again from what it holds, and compare bit for bit.

It needs no database, no home, no broker and no network; only the packages of a worker. It

\b
    compares every byte with the Merkle root, and names each part that differs
    checks the signature, and with --key whose it is
    computes features from the images again, if the bundle has them
    builds the problems again, and compares them with what was sent
    unembeds the raw reads, scores them, and compares all results
    adds up the charges from the timing of the answers

and says what is proven, and what the bundle only claims. docs/proof.md describes the format.

Exit code 0: nothing is wrong. 1: something is. 2: usage.

Example: `annealq verify run.zip --key public.pem`.
"""


def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="File of `annealq runs bundle`.")],
    key: Annotated[
        Path | None,
        typer.Option("--key", help="PEM file of the Ed25519 public key that must have signed it."),
    ] = None,
    json: o.Json = False,
) -> None:
    from producer.proof.verify import verify as verify_bundle
    from producer.reports.progress import StepBars
    from producer.reports.terminal import print_json, screen
    from schema.settings import load

    with StepBars(screen()) as steps:
        found = verify_bundle(load(), bundle, steps.start_step, key)
    if json:
        print_json(asdict(found))
    else:
        typer.echo(found.text())
    if not found.is_right:
        raise typer.Exit(1)


verify.__doc__ = _HELP


def bundle(
    run: o.Number,
    output: Annotated[Path, typer.Option("--output", "-o", help="The .zip file to write.")],
    images: Annotated[
        bool,
        typer.Option("--images", help="Also the images; without them, the SHA-256 of each batch of them."),
    ] = False,
    sign: Annotated[
        Path | None, typer.Option("--sign", help="PEM file of an Ed25519 private key that signs it.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option("--licence", help="URL of the licence under which you publish it, or words.")
    ] = None,
    json: o.Json = False,
) -> None:
    """Write all that a finished run rests on to one file, by which anybody can prove its results.

    It holds the network, the features or images, the embeddings, the raw reads as they were received, the
    ledger and the results, under one Merkle root. It is verified before it is complete: `annealq verify`.

    Example: `annealq runs bundle 1 -o run-1.zip --images`.
    """
    from producer.context import database
    from producer.proof import bundle as bundles
    from producer.reports.progress import StepBars
    from producer.reports.terminal import print_json, screen
    from schema.settings import load

    settings = load()
    with database(settings) as opened, opened.reading() as session:
        bundles.check(session, run)
    with StepBars(screen()) as steps:
        found = bundles.write(
            settings,
            run,
            output,
            steps.start_step,
            images=images,
            licence=licence or bundles.LICENCE,
            sign=sign,
        )
    if json:
        print_json({"run_id": run, "bundle": str(output)} | asdict(found))
    else:
        typer.echo(found.text())
        typer.echo(f"written to {output}: `annealq verify {output}`", err=True)
