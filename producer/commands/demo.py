"""`annealq demo`: a real network, trained and used on real images, through the real queue."""

from __future__ import annotations

from pathlib import Path

from producer.commands.shared.interrupting import explaining_interruption
from producer.commands.shared.watching import follow_and_print
from producer.context import AppContext
from producer.images.imageset import ImageSet
from producer.images.source import read_images
from producer.jobs import submit, submit_training
from producer.reports.progress import watch_training
from producer.reports.terminal import screen
from producer.runs import queries
from producer.runs.request import RunRequest
from schema.network.architecture import preset
from schema.parameters import Origin, Parameters, Solver, Visible
from schema.quantities import count_text

TRAINED_ON = 1_000  # of scikit-learn's 1,797 digits; the others were never seen
ON_QUBITS = 48  # images that are also classified by the emulator: in two problems
# Few images need few copies: a search for as many as fit would take a minute.
_TILES = ON_QUBITS // 2


def show_digits(app: AppContext, parameters: Parameters, *, json: bool) -> str:
    """Train `digits` on the first 1,000 images, classify all 1,797, state the accuracy on the other 797.

    ``parameters`` are those of sampling; ``json`` suppresses text. Returns the network as NAME@VERSION.
    """
    digits = read_images("sklearn:digits")
    network = train(app, "digits", digits.limit(TRAINED_ON))
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
    network = train(app, "mnist", read_images(str(training)))
    classify(app, network, test_set, parameters, json=json)


def train(app: AppContext, architecture: str, images: ImageSet) -> str:
    """Train the preset ``architecture`` on ``images``, or reuse an earlier training; return NAME@VERSION."""
    queued = submit_training(
        app, preset(architecture), images, transfer="energy", seed=0, origin=Origin.EXPERIMENT
    )
    console = screen()
    if queued.created:
        console.print(
            f"training network {architecture} on {count_text(len(images.images), 'image')} of {images.name}"
        )
    with explaining_interruption(f"the training of {architecture}", "give the same command again", ""):
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
