"""`annealq networks export --bqm`: the energy function of an image as a binary quadratic model."""

from __future__ import annotations

from pathlib import Path

import typer

from schema.parameters import Visible
from schema.quantities import count_text


def export_model(name: str, data: str, output: Path, visible: Visible, lam: float | None) -> None:
    """Write the model of one image under the network ``name`` to ``output``.

    Args:
        data: `DATA` or `DATA:INDEX`, the image.
        output: .bqm, .coo or .json.
        visible: whether visible units are in the model, or folded.
        lam: one-hot penalty; None: the network's own.

    Raises:
        ParameterError: the suffix names no form, or the index is out of range.
        ImageError: the image cannot be read, or the network cannot take it.
    """
    from producer.context import database
    from producer.networks import q_matrix
    from producer.networks.choose import choose_network, find_network
    from schema.settings import load

    q_matrix.check_model_file(output)
    settings = load()
    with database(settings) as opened:
        network = find_network(opened, name)  # installs a shipped one
        with opened.reading() as session:
            chosen = choose_network(session, f"{network.name}@{network.version}", network.image_shape)
        images, index = q_matrix.read_image(data, chosen)
        variables = q_matrix.write_model(settings, chosen.id, images.images[0], output, visible, lam)
    typer.echo(f"{output}: image {index} of {data} has {count_text(variables, 'variable')}", err=True)
