"""`annealq networks default | rename | remove`."""

from __future__ import annotations

from typing import Annotated

import typer

Name = Annotated[str, typer.Argument(help="NAME@VERSION, or NAME for its newest version.")]


def default(
    name: Name,
    unset: Annotated[
        bool,
        typer.Option("--unset", help="It is the default no longer: the shipped one is, if there is one."),
    ] = False,
) -> None:
    """Choose the network that classifies images of its size where none is named.

    Until then it is the one that came with annealq. Runs and schedules that exist stay with theirs.
    Example: `annealq networks default fashion@1`.
    """
    from producer.context import database
    from producer.networks import naming
    from producer.networks.choose import find_network

    with database() as opened:
        find_network(opened, name)  # installs a shipped one
        network = (naming.unset_default if unset else naming.set_default)(opened, name)
    change = "is no longer the default" if unset else "is the default"
    typer.echo(f"{network.pinned} {change} for {network.image_shape.words}")


def rename(
    name: Annotated[str, typer.Argument(help="NAME for all its versions, or NAME@VERSION for one.")],
    new: Annotated[str, typer.Argument(help="The new name.")],
) -> None:
    """Rename a network. Runs show the new name, and schedules use it.

    Example: `annealq networks rename mnist@2 fashion`.
    """
    from producer.context import database
    from producer.networks import naming

    with database() as opened:
        for before, after in naming.rename(opened, name, new):
            typer.echo(f"{before} is now {after}")


def remove(name: Name) -> None:
    """Remove one version of a network that no run used, with its calibrations.

    Example: `annealq networks remove fashion@1`.
    """
    from producer.context import database
    from producer.networks import naming

    with database() as opened:
        network = naming.remove(opened, name)
    typer.echo(f"{network.pinned} is removed")
