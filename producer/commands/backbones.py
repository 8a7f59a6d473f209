"""`annealq backbones`: frozen networks that turn colour pictures into feature vectors."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from producer.commands.shared import options as o
from producer.commands.shared.help import App
from schema.network.backbones import SCALES, USUAL_SCALE, USUAL_SIZE, PixelScale
from schema.quantities import count_text
from schema.shapes import BACKBONE_SIZES

_HELP = """Import, list, show, prune and delete backbones: pretrained networks in ONNX files.

A backbone turns colour pictures into feature vectors, and a small network of annealq's own classifies these:
it needs a few thousand labelled pictures where one from scratch needs a hundred thousand. Nothing is
downloaded: docs/backbones.md says how to write the file with torch.
"""

app = App(help=_HELP, no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The backbone's name, from `backbones list`.")]


@app.command("import")
def import_backbone(
    file: Annotated[
        Path, typer.Argument(help="A .onnx file with one input (b, 3, H, W), one output (b, D).")
    ],
    name: Annotated[str | None, typer.Option("--name", help="Its name here; default: the file's.")] = None,
    size: Annotated[
        int | None,
        typer.Option(
            "--size",
            help=f"Height and width of its pictures: {', '.join(map(str, BACKBONE_SIZES))}; default: the "
            f"file's, or {USUAL_SIZE}. Twice the size takes four times as long.",
        ),
    ] = None,
    scale: Annotated[
        str,
        typer.Option(
            "--scale",
            help=f"(p - mean) / std of pixels 0 to 255, as it was trained: {', '.join(SCALES)}, or MEAN,STD.",
        ),
    ] = USUAL_SCALE,
    json: o.Json = False,
) -> None:
    """Check a file in a process without files, network and much memory, and store it.

    Example: `annealq backbones import efficientnet-lite0.onnx --size 128 --scale 127,128`.
    """
    from producer.backbones import importing
    from producer.commands.shared.session import first_database
    from schema.settings import load

    scaled = PixelScale.parse(scale)
    settings = load()
    with first_database(settings) as opened:
        backbone = importing.import_backbone(settings, opened, file, name, size, scaled)
    _print(backbone.name, json=json)


@app.command("list")
def list_backbones(json: o.Json = False) -> None:
    """List all backbones.

    Example: `annealq backbones list`.
    """
    from producer.backbones import queries
    from producer.context import database
    from producer.reports.network import backbones_table
    from producer.reports.terminal import page, print_json

    with database() as opened, opened.reading() as session:
        found = queries.backbones(session)
    if json:
        print_json([backbone.to_dict() for backbone in found])
    elif found:
        page().print(backbones_table(found))
    else:
        typer.echo("no backbones yet: `annealq backbones import FILE.onnx`")


@app.command()
def show(name: Name, json: o.Json = False) -> None:
    """Show a backbone: its pictures, its features, its file, the networks that use it.

    Example: `annealq backbones show efficientnet-lite0`.
    """
    _print(name, json=json)


@app.command()
def delete(name: Name) -> None:
    """Delete a backbone that no network uses.

    Example: `annealq backbones delete efficientnet-lite0`.
    """
    from producer.backbones.removal import delete_backbone
    from producer.context import database

    with database() as opened:
        backbone = delete_backbone(opened, name)
    typer.echo(f"backbone {backbone.name} is deleted")


@app.command()
def prune(
    older_than: Annotated[
        float | None,
        typer.Option("--older-than", help="Vectors that were computed at least this many days ago."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that nothing needs.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be removed; remove nothing.")
    ] = False,
    json: o.Json = False,
) -> None:
    """Remove stored feature vectors that no unfinished run or training needs.

    They are computed again when their run is scored again, or their images are classified again.

    Example: `annealq backbones prune --older-than 30 --dry-run`.
    """
    from producer.backbones.prune import prune as prune_features
    from producer.context import database
    from producer.images.limits import format_bytes
    from producer.reports.terminal import print_json

    if everything == (older_than is not None):
        raise typer.BadParameter("name either --older-than DAYS or --all")
    with database() as opened:
        pruned = prune_features(opened, older_than_days=older_than or 0.0, dry_run=dry_run)
    if json:
        print_json({**asdict(pruned), "dry_run": dry_run})
        return
    verb = "would remove" if dry_run else "removed"
    typer.echo(f"{verb} {count_text(pruned.vectors, 'feature vector')}, {format_bytes(pruned.bytes)}")


def _print(name: str, *, json: bool) -> None:
    from producer.backbones import queries
    from producer.backbones.removal import networks_with
    from producer.context import database
    from producer.reports.network import backbone_text
    from producer.reports.terminal import page, print_json

    with database() as opened, opened.reading() as session:
        backbone = queries.backbone_by_name(session, name)
        networks = networks_with(session, backbone.sha256)
    if json:
        print_json({**backbone.to_dict(), "networks": networks})
    else:
        page().print(backbone_text(backbone, networks))
