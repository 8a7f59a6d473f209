"""`annealq demo`: a real network, trained and used on real images, through the real queue."""

from __future__ import annotations

from pathlib import Path

from producer.backbones.importing import import_backbone
from producer.backbones.queries import backbones
from producer.commands.shared.interrupting import explaining_interruption
from producer.commands.shared.watching import follow_and_print
from producer.context import AppContext
from producer.images.imageset import ImageSet
from producer.images.preprocessing import Preprocessing
from producer.images.source import read_images
from producer.jobs import submit, submit_training
from producer.networks.starter import architecture_of, starter_text
from producer.reports.progress import watch_training
from producer.reports.terminal import screen
from producer.runs import queries
from producer.runs.request import RunRequest
from schema.network.architecture import Architecture, preset
from schema.network.backbones import PixelScale
from schema.parameters import Origin, Parameters, Solver, Visible
from schema.quantities import count_text

TRAINED_ON = 1_000  # of scikit-learn's 1,797 digits; the others were never seen
ON_QUBITS = 48  # images that are also classified by the emulator: in two problems
# Few images need few copies: a search for as many as fit would take a minute.
_HELD_OUT = 5  # one picture of that many is not trained on
_TILES = ON_QUBITS // 2


def show_digits(app: AppContext, parameters: Parameters, *, json: bool) -> str:
    """Train `digits` on the first 1,000 images, classify all 1,797, state the accuracy on the other 797.

    ``parameters`` are those of sampling; ``json`` suppresses text. Returns the network as NAME@VERSION.
    """
    digits = read_images("sklearn:digits")
    network = train(app, preset("digits"), digits.limit(TRAINED_ON))
    run = classify(app, network, digits, parameters, json=json)
    with app.database.reading() as session:
        unseen = queries.counts(session, run, first_image=TRAINED_ON)
    if unseen.accuracy is not None:
        screen().print(
            f"on the {unseen.labelled:,} digits that were not trained on: "
            f"[bold]{unseen.accuracy:.2%}[/bold] correct ({unseen.correct:,})"
        )
    return network


def show_qubits(app: AppContext, network: str, reads: int, *, json: bool) -> None:
    """Classify some digits that were not trained on by ``network``, embedded on the qubits of an emulated
    QPU.

    ``reads`` is the number of reads; ``json`` suppresses text.
    """
    digits = read_images("sklearn:digits")
    unseen = digits.skip(TRAINED_ON).limit(ON_QUBITS)
    screen().print(
        "the same on qubits: the emulator speaks D-Wave's protocol and anneals on a chip's graph (visible "
        "units are folded into biases, so that the annealer decides between classes only)"
    )
    folded = Parameters(reads=reads, visible=Visible.FOLDED, tiles=_TILES)
    classify(app, network, unseen, folded, Solver.EMULATOR, json=json)


def show_mnist(app: AppContext, training: Path, test: Path, parameters: Parameters, *, json: bool) -> None:
    """Train `mnist` on the file ``training`` and classify ``test`` with ``parameters``; ``json`` suppresses
    text.
    """
    test_set = read_images(str(test))
    network = train(app, preset("mnist"), read_images(str(training)))
    classify(app, network, test_set, parameters, json=json)


def show_photos(
    app: AppContext, folder: Path, backbone: Path | None, scale: str, parameters: Parameters, *, json: bool
) -> None:
    """Train on four fifths of the labelled pictures in ``folder``, and classify the others.

    Args:
        backbone: an ONNX file to import first, with pixels scaled by ``scale``; None: the only one that was
            imported, if there is one.
        parameters: of sampling.
        json: suppresses text.
    """
    if backbone is not None:
        scaled = PixelScale.parse(scale)
        import_backbone(app.settings, app.database, backbone, None, None, scaled)
    with app.database.reading() as session:
        found = backbones(session)
    only = found if len(found) == 1 else []
    size = (only[0].size, only[0].size) if only else None
    images = read_images(str(folder), None, Preprocessing(size=size))
    layers = architecture_of(starter_text(images, resize="crop", backbones=only))
    for first in only:
        screen().print(f"backbone {first.name}: {count_text(first.features, 'feature')} of a picture")
    known, unseen = images.split(len(images.images) // _HELD_OUT, seed=0)
    network = train(app, layers, known)
    classify(app, network, unseen, parameters, json=json)


def train(app: AppContext, layers: Architecture, images: ImageSet) -> str:
    """Train ``layers`` on ``images``, or reuse an earlier training; return NAME@VERSION."""
    queued = submit_training(app, layers, images, transfer="energy", seed=0, origin=Origin.EXPERIMENT)
    console = screen()
    if queued.created:
        console.print(
            f"training network {layers.name} on {count_text(len(images.images), 'image')} of {images.name}"
        )
    with explaining_interruption(f"the training of {layers.name}", "give the same command again", ""):
        trained = watch_training(app.database, queued.id, console, app.check)
    name = f"{trained.name}@{trained.version}"
    console.print(f"network {name} is ready")
    return name


def classify(
    app: AppContext,
    network: str,
    images: ImageSet,
    parameters: Parameters,
    solver: Solver = Solver.LOCAL,
    *,
    json: bool,
) -> int:
    """Classify ``images`` by ``network`` and print the result; return the run's number.

    ``parameters`` and ``solver`` say how; ``json`` suppresses text.
    """
    console = screen()
    console.print(
        f"classifying {count_text(len(images.images), 'image')} of {images.name}, "
        f"{count_text(parameters.reads, 'read')} each"
    )
    request = RunRequest(network=network, solver=solver, asked=parameters.to_dict(), calibrated=False)
    run, _ = submit(app, request, images)
    follow_and_print(app, run.id, json=json)
    return run.id
