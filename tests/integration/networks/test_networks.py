"""Networks from outside, imported or shipped, are installed once for each content, or not at all."""

from __future__ import annotations

import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load, save
from sqlalchemy import func, select, update

from producer import enqueued
from producer.images.imageset import ImageSet
from producer.networks import bundle, naming, shipped
from producer.networks.bundle import Bundle
from producer.networks.choose import choose_network, get_or_install_network
from producer.networks.training import enqueue_training
from producer.networks.versions import install
from schema.database import Database, transition
from schema.errors import ImageError, NetworkError, NotFound
from schema.network.architecture import preset
from schema.parameters import Origin
from schema.shapes import ImageShape
from schema.states import NetworkState
from schema.tables import Event, Network
from tests.integration.conftest import Cli
from tests.trained import patterns, ship, tiny
from worker.network.inference import scores
from worker.records.networks import Registry


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the folder of shipped networks by an empty one."""
    folder = tmp_path / "presets"
    folder.mkdir()
    monkeypatch.setattr(shipped, "FOLDER", folder)
    return folder


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Write `digits.safetensors` and `digits.json` into a folder."""
    folder = tmp_path / "files"
    folder.mkdir()
    ship(folder, "digits")
    return folder


def rows(database: Database) -> dict[str, int]:
    with database.reading() as session:
        tables = (Network, Event)
        return {
            t.__tablename__: session.execute(select(func.count()).select_from(t)).scalar_one() for t in tables
        }


def images(name: str, count: int = 10) -> ImageSet:
    pixels, labels = patterns(name, count)
    return ImageSet("patterns", pixels, labels, None, None)


def origin(database: Database, network: int) -> tuple[str, int, str]:
    """Return (name, version, origin) of a row."""
    with database.reading() as session:
        row = session.get_one(Network, network)
        return row.name, row.version, row.training["origin"]


# --- import and export


def test_an_imported_network_computes_what_its_weights_say(cli: Cli, database: Database, files: Path) -> None:
    command = ("networks", "import", "mine", "-a", "digits", "-w", files / "digits.safetensors")
    printed = json.loads(cli(*command, "--classes", "a,b,c,d,e,f,g,h,i,j", "--json"))
    assert (printed["name"], printed["version"], printed["state"]) == ("mine", 1, "ready")
    assert (printed["origin"], printed["metrics"]) == ("imported", None)
    assert printed["classes"] == list("abcdefghij")

    with database.reading() as session:
        found = Registry().get(session, printed["network_id"])
    layers, pixels = preset("digits"), patterns("digits")[0]
    np.testing.assert_array_equal(
        scores(found.architecture, found.weights, pixels, found.transfer),
        scores(layers, load(tiny("digits").data), pixels, "energy"),
    )
    with database.reading() as session:
        assert choose_network(session, "mine", ImageShape.image(8, 8)).classes == tuple("abcdefghij")


def test_the_same_again_is_the_same_row_and_anything_else_the_next_version(
    cli: Cli, database: Database, files: Path
) -> None:
    def network(*options: object) -> tuple[str, int]:
        command = ("networks", "import", "mine", "-a", "digits", "-w", files / "digits.safetensors")
        printed = json.loads(cli(*command, "--json", *options))
        return f"{printed['name']}@{printed['version']}", printed["network_id"]

    first = network()
    assert network() == network("--transfer", "energy", "--classes", "0,1,2,3,4,5,6,7,8,9") == first
    assert network("--transfer", "paper")[0] == "mine@2"
    assert network("--classes", "a,b,c,d,e,f,g,h,i,j")[0] == "mine@3"
    changed = {name: array + np.float32(0.5) for name, array in load(tiny("digits").data).items()}
    (files / "digits.safetensors").write_bytes(save(changed))
    assert network()[0] == "mine@4"
    assert rows(database) == {"networks": 4, "events": 4}


def test_arrays_in_any_order_are_the_same_network(cli: Cli, database: Database, files: Path) -> None:
    arrays = load(tiny("digits").data)
    (files / "other.safetensors").write_bytes(save(dict(reversed(arrays.items())), {"made": "elsewhere"}))
    for file in ("digits", "other"):
        cli("networks", "import", "mine", "-a", "digits", "-w", files / f"{file}.safetensors")
    assert rows(database)["networks"] == 1


def test_an_exported_network_comes_back_with_all_that_is_known_of_it(
    cli: Cli, database: Database, files: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.safetensors"
    cli("networks", "import", "mine", "-a", files / "digits.json", "-w", files / "digits.safetensors")
    cli("networks", "export", "mine@1", "-o", out)
    assert out.read_bytes() == (files / "digits.safetensors").read_bytes()

    command = ("networks", "import", "again", "-a", out.with_suffix(".json"), "--json")
    printed = json.loads(cli(*command, "-w", out))
    assert printed["metrics"] == tiny("digits").description.metrics
    assert printed["training"] == {"transfer": "energy", "seed": 0, "epochs": 3, "origin": "imported"}

    other = {name: array + np.float32(0.5) for name, array in load(out.read_bytes()).items()}
    out.write_bytes(save(other))
    assert json.loads(cli(*command, "-w", out))["metrics"] is None  # they were of other weights


def test_an_exported_network_names_the_command_that_trains_it(
    cli: Cli, database: Database, tmp_path: Path
) -> None:
    queued = enqueue_training(
        database, preset("digits"), images("digits"), transfer="energy", seed=7, epochs=3
    )
    with pytest.raises(NetworkError, match=r"digits@1 is queued: it has no weights yet"):
        cli("networks", "export", "digits", "-o", tmp_path / "digits.safetensors")
    assert not list(tmp_path.glob("digits.*"))

    with database.transaction() as session:
        now = database.now(session)
        move = (session, queued.id, NetworkState.QUEUED, NetworkState.TRAINING)
        transition(*move, now=now, lease_until=now)
        epochs = [{"validation_accuracy": a, "train_accuracy": 1.0} for a in (0.25, 0.75)]
        transition(
            *(session, queued.id, NetworkState.TRAINING, NetworkState.READY),
            now=now,
            finished_at=now,
            weights=tiny("digits").data,
            metrics={"best_epoch": 2, "epochs": epochs},
        )
    cli("networks", "export", "digits", "-o", tmp_path / "digits.safetensors")
    loaded = bundle.load(tmp_path, "digits")
    assert loaded.description.metrics == {
        "own_accuracy": 0.75,
        "train_accuracy": 1.0,
        "command": "annealq networks train digits --data patterns --limit 10 --transfer energy --seed 7 "
        "--epochs 3",
    }


def test_bad_input_stores_nothing(cli: Cli, database: Database, tmp_path: Path) -> None:
    good = load(tiny("digits").data)
    first = next(iter(good))

    def file(name: str, data: bytes) -> Path:
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    def changed(name: str, array: Any) -> Path:
        return file(f"{name}.safetensors", save({**good, first: array}))

    fine = file("fine.safetensors", tiny("digits").data)
    torch.save({"a": torch.zeros(3)}, tmp_path / "model.pt")
    described = tiny("digits").description.to_dict()
    layers = preset("digits").to_dict()
    cases: dict[str, tuple[object, ...]] = {
        r"no\.safetensors: cannot be read": ("mine", "-a", "digits", "-w", tmp_path / "no.safetensors"),
        r"nan\.safetensors: .*NaN": ("mine", "-a", "digits", "-w", changed("nan", good[first] * np.nan)),
        r"has shape \(2, 2\)": ("mine", "-a", "digits", "-w", changed("s", np.zeros((2, 2), np.float32))),
        r"is float64, weights are float32": (
            *("mine", "-a", "digits", "-w"),
            changed("d", good[first].astype(np.float64)),
        ),
        r"missing .*features\.2\.bias": ("mine", "-a", "mnist", "-w", fine),
        r"model\.pt: .*pickle.*save_file": ("mine", "-a", "digits", "-w", tmp_path / "model.pt"),
        r"p\.safetensors: .*pickle.*save_file": (
            *("mine", "-a", "digits", "-w"),
            file("p.safetensors", pickle.dumps(good)),
        ),
        r"nosuch: an architecture is a .toml or .json file, or a preset: digits": (
            *("mine", "-a", "nosuch", "-w", fine),
        ),
        r"empty\.toml: architecture: name is missing": ("mine", "-a", file("empty.toml", b""), "-w", fine),
        r"zero\.json: classes must be a whole number from 2": (
            *("mine", "-a", file("zero.json", json.dumps({**layers, "classes": 0}).encode()), "-w", fine),
        ),
        r"seed\.json: seed must be a whole number": (
            *("mine", "-a", file("seed.json", json.dumps({**described, "seed": "x"}).encode()), "-w", fine),
        ),
        r"acc\.json: metrics: own_accuracy must be from 0 to 1": (
            *("mine", "-a"),
            file("acc.json", json.dumps({**described, "metrics": {"own_accuracy": float("nan")}}).encode()),
            *("-w", fine),
        ),
        r"it names 3 classes; architecture 'mine' has 10": (
            *("mine", "-a", "digits", "-w", fine, "--classes", "a,b,c"),
        ),
        r"two classes are called 'a'": (
            *("mine", "-a", "digits", "-w", fine, "--classes", "a,a,c,d,e,f,g,h,i,j"),
        ),
        r"a class name has 1 to": ("mine", "-a", "digits", "-w", fine, "--classes", ",b,c,d,e,f,g,h,i,j"),
        r"transfer must be energy or paper, not 'magic'": (
            *("mine", "-a", "digits", "-w", fine, "--transfer", "magic"),
        ),
        r"without @": ("mine@1", "-a", "digits", "-w", fine),
    }
    for message, arguments in cases.items():
        with pytest.raises(NetworkError, match=message):
            cli("networks", "import", *arguments)
    assert rows(database) == {"networks": 0, "events": 0}


def test_many_imports_at_once(database: Database) -> None:
    def bring(number: int) -> enqueued.Enqueued:
        known = tiny("digits").description.replace(seed=number // 4)  # each content four times
        return install(database, Bundle(known, tiny("digits").data), Origin.IMPORTED)

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(bring, range(24)))
    assert len({one.id for one in made}) == sum(one.created for one in made) == 6
    with database.reading() as session:
        assert sorted(session.execute(select(Network.version)).scalars()) == [1, 2, 3, 4, 5, 6]


# --- shipped


def test_a_shipped_network_is_installed_on_first_use(database: Database, package: Path) -> None:
    ship(package, "digits")
    by_name = get_or_install_network(database, images("digits"), "digits")
    by_size = get_or_install_network(database, images("digits"), None)
    assert by_name == by_size
    assert by_name.classes == tuple("0123456789")
    assert origin(database, by_name.id) == ("digits", 1, "shipped")
    assert rows(database) == {"networks": 1, "events": 1}
    with database.reading() as session:
        assert Registry().get(session, by_name.id).architecture == preset("digits")
        assert choose_network(session, "digits@1", ImageShape.image(8, 8)) == by_name


def test_the_size_decides_and_conv358_is_never_a_default(database: Database, package: Path) -> None:
    ship(package, "digits5x5", "conv358")
    assert get_or_install_network(database, images("digits5x5"), None).name == "digits5x5"
    assert get_or_install_network(database, images("mnist"), "conv358").name == "conv358"
    with pytest.raises(NetworkError, match=r"28 x 28.*conv358@1 .*Shipped, by name: digits5x5, conv358"):
        get_or_install_network(database, images("mnist"), None)
    ship(package, "mnist")
    assert get_or_install_network(database, images("mnist"), None).name == "mnist"


def test_a_name_means_a_user_s_own_network_first_and_a_size_the_default(
    database: Database, package: Path
) -> None:
    ship(package, "digits", seed=1)
    shipped_one = get_or_install_network(database, images("digits"), None)
    own = install(database, tiny("digits"), Origin.IMPORTED)
    assert origin(database, own.id) == ("digits", 2, "imported")
    other = tiny("digits").description.replace(architecture=preset("digits").replace(name="mine"))
    mine = install(database, Bundle(other, tiny("digits").data), Origin.IMPORTED)
    assert get_or_install_network(database, images("digits"), "digits").id == own.id
    assert get_or_install_network(database, images("digits"), None).id == shipped_one.id
    assert get_or_install_network(database, images("digits"), "digits@1").id == shipped_one.id
    naming.set_default(database, "mine")
    by_default = get_or_install_network(database, images("digits"), None)
    assert (by_default.id, by_default.reason) == (mine.id, "the default for images of 8 x 8 pixels")
    naming.set_default(database, "digits@2")
    assert get_or_install_network(database, images("digits"), None).id == own.id
    naming.unset_default(database, "digits@2")
    assert get_or_install_network(database, images("digits"), None).id == shipped_one.id


def test_of_several_networks_none_is_taken_before_one_is_chosen(database: Database, package: Path) -> None:
    for name in ("mine", "other"):
        described = tiny("digits").description.replace(architecture=preset("digits").replace(name=name))
        install(database, Bundle(described, tiny("digits").data), Origin.IMPORTED)
        if name == "mine":
            assert get_or_install_network(database, images("digits"), None).reason.startswith("the only one")
    with pytest.raises(NetworkError, match=r"other@1, mine@1.*annealq networks default other@1"):
        get_or_install_network(database, images("digits"), None)


def test_what_an_experiment_trained_is_used_only_by_name(database: Database, package: Path) -> None:
    ship(package, "digits")
    trained = enqueue_training(
        database, preset("digits"), images("digits"), transfer="energy", seed=0, origin=Origin.EXPERIMENT
    )
    with database.transaction() as session:
        values = {"state": NetworkState.READY, "weights": b"", "finished_at": database.now(session)}
        session.execute(update(Network).where(Network.id == trained.id).values(values))
    for name in (None, "digits"):
        assert get_or_install_network(database, images("digits"), name).pinned == "digits@2"
    assert get_or_install_network(database, images("digits"), "digits@1").id == trained.id
    again = enqueue_training(database, preset("digits"), images("digits"), transfer="energy", seed=0)
    assert again.id == trained.id
    assert get_or_install_network(database, images("digits"), "digits").id == trained.id


def test_renaming_and_removing(database: Database, package: Path) -> None:
    ship(package, "digits")
    get_or_install_network(database, images("digits"), None)
    first = install(database, tiny("digits"), Origin.IMPORTED)
    with pytest.raises(NetworkError, match="digits@1 came with annealq"):
        naming.rename(database, "digits", "mine")
    assert naming.rename(database, "digits@2", "mine") == [("digits@2", "mine@1")]
    assert origin(database, first.id) == ("mine", 1, "imported")
    assert naming.rename(database, "mine", "ours") == [("mine@1", "ours@1")]
    with pytest.raises(NetworkError, match="came with annealq"):
        naming.remove(database, "digits@1")
    with pytest.raises(NetworkError, match="there is a network 'digits'"):
        naming.rename(database, "ours", "digits")
    with pytest.raises(NetworkError, match="without @"):
        naming.rename(database, "ours", "a@b")
    naming.remove(database, "ours")
    with pytest.raises(NotFound, match="no network 'ours'"):
        naming.remove(database, "ours")


def test_nothing_is_installed_while_a_user_s_own_is_trained(database: Database, package: Path) -> None:
    ship(package, "digits")
    queued = enqueue_training(database, preset("digits"), images("digits"), transfer="energy", seed=0)
    with pytest.raises(NetworkError, match=r"no network 'digits' is ready.*digits@1 \(queued"):
        get_or_install_network(database, images("digits"), "digits")
    assert rows(database)["networks"] == 1
    with database.transaction() as session:
        now = database.now(session)
        move = (session, queued.id, NetworkState.QUEUED, NetworkState.FAILED)
        transition(*move, now=now, error="no luck")
    assert origin(database, get_or_install_network(database, images("digits"), "digits").id) == (
        "digits",
        2,
        "shipped",
    )


def test_many_producers_install_a_shipped_network_once(database: Database, package: Path) -> None:
    ship(package, "digits")
    tiny("digits")  # trained before the race
    with ThreadPoolExecutor(8) as pool:
        wanted = ["digits", None] * 8
        chosen = list(pool.map(lambda name: get_or_install_network(database, images("digits"), name), wanted))
    assert len(set(chosen)) == 1
    assert rows(database) == {"networks": 1, "events": 1}


def test_a_newer_annealq_ships_a_newer_version(database: Database, package: Path) -> None:
    ship(package, "digits")
    old = get_or_install_network(database, images("digits"), None)
    ship(package, "digits", seed=1)
    new = get_or_install_network(database, images("digits"), None)
    assert origin(database, new.id) == ("digits", 2, "shipped")
    ship(package, "digits")
    assert get_or_install_network(database, images("digits"), "digits") == old


def test_images_that_do_not_suit_install_nothing(database: Database, package: Path) -> None:
    ship(package, "digits")
    bright = replace(images("digits"), images=images("digits").images * np.uint8(2))
    for wanted in (None, "digits"):
        with pytest.raises(ImageError, match="0 to 16"):
            get_or_install_network(database, bright, wanted)
    assert rows(database) == {"networks": 0, "events": 0}


@pytest.mark.parametrize("file", ["digits.json", "digits.safetensors"])
def test_damaged_files_are_named(database: Database, package: Path, file: str) -> None:
    ship(package, "digits")
    data = (package / file).read_bytes()
    (package / file).write_bytes(data.replace(b'"own_accuracy": 0.5', b'"own_accuracy": 5.5')[:-4])
    with pytest.raises(NetworkError, match="network 'digits' cannot be read"):
        get_or_install_network(database, images("digits"), "digits")
    assert rows(database)["networks"] == 0


def test_files_of_two_networks_are_told_apart(package: Path) -> None:
    ship(package, "digits")
    (package / "digits.safetensors").write_bytes(tiny("digits", seed=1).data)
    with pytest.raises(NetworkError, match=r"digits\.json was made for other weights"):
        shipped.load("digits")


def test_lists_say_what_is_shipped(cli: Cli, database: Database, package: Path) -> None:
    assert "no networks yet" in cli("networks", "list")
    ship(package, "digits", "digits5x5")
    listed = cli("networks", "list")
    assert "shipped, installed on first use: digits, digits5x5" in listed
    shown = json.loads(cli("networks", "show", "digits", "--json"))
    assert (shown["origin"], shown["state"]) == ("shipped", "ready")
    assert {"units", "couplers", "size", "size_folded", "density"} <= set(shown["summary"])
    assert (shown["summary"]["size"], shown["summary"]["couplers"]) == (50, [400, 45])
    listed = cli("networks", "list")
    assert "shipped, installed on first use: digits5x5" in listed
    assert "digits@1" in listed
    assert [one["origin"] for one in json.loads(cli("networks", "list", "--json"))] == ["shipped"]
