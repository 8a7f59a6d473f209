"""`annealq backbones`: a file is checked in a process of its own, stored, listed and deleted."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from sqlalchemy import insert, select

from producer.backbones import importing
from schema.database import Database
from schema.errors import BackboneError, NotFound
from schema.tables import Backbone, BackboneFile, Event, Network
from tests.conftest import annealq
from tests.integration.conftest import Cli, network_row
from tests.onnx_models import FEATURES, constant, encoded, model


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(encoded())
    return path


def test_a_file_is_imported_once(cli: Cli, database: Database, file: Path) -> None:
    first = json.loads(cli("backbones", "import", file, "--size", 64, "--scale", "signed", "--json"))
    again = json.loads(cli("backbones", "import", file, "--size", 64, "--scale", "signed", "--json"))
    assert first == again
    assert (first["name"], first["size"], first["features"]) == ("tiny", 64, FEATURES)
    assert first["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    with database.reading() as session:
        assert session.execute(select(BackboneFile.data)).scalars().all() == [file.read_bytes()]
        actions = select(Event.target).where(Event.subject == "backbones")
        assert session.execute(actions).scalars().all() == ["imported"]
    assert "tiny" in cli("backbones", "list")
    assert "Conv 1" in cli("backbones", "show", "tiny")


def test_a_first_import_makes_the_database_of_an_empty_home(file: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = annealq("backbones", "import", file, "--json", env={"ANNEALQ_HOME": str(home)})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == "tiny"
    assert (home / "annealq.db").stat().st_mode & 0o077 == 0
    assert "tiny" in annealq("backbones", "list", env={"ANNEALQ_HOME": str(home)}).stdout


def test_one_file_is_one_backbone_and_one_name_one_file(cli: Cli, file: Path, tmp_path: Path) -> None:
    cli("backbones", "import", file)
    with pytest.raises(BackboneError, match=r"this file is the backbone 'tiny' with 128 pixels"):
        cli("backbones", "import", file, "--size", 64)
    other = tmp_path / "other.onnx"
    other.write_bytes(encoded(seed=1))
    with pytest.raises(BackboneError, match="choose another --name"):
        cli("backbones", "import", other, "--name", "tiny")


def test_a_backbone_is_deleted(cli: Cli, database: Database, file: Path) -> None:
    cli("backbones", "import", file)
    cli("backbones", "delete", "tiny")
    with database.reading() as session:
        assert session.execute(select(Backbone.id)).all() == []
        assert session.execute(select(BackboneFile.backbone_id)).all() == []
    with pytest.raises(NotFound, match="annealq backbones import FILE"):
        cli("backbones", "show", "tiny")


def test_a_backbone_that_a_network_uses_stays(cli: Cli, database: Database, file: Path) -> None:
    sha256 = json.loads(cli("backbones", "import", file, "--json"))["sha256"]
    row = network_row()
    row["architecture"] = {**row["architecture"], "features": [{"kind": "backbone", "sha256": sha256}]}
    with database.transaction() as session:
        session.execute(insert(Network).values(row))
    with pytest.raises(BackboneError, match="is used by digits@1"):
        cli("backbones", "delete", "tiny")


def test_a_file_that_is_none_is_refused_with_the_way_to_make_one(
    cli: Cli, database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "text.onnx"
    path.write_text("hello")
    with pytest.raises(BackboneError, match=r"text\.onnx: this is not an ONNX file.*torch\.onnx\.export\("):
        cli("backbones", "import", path)
    with database.reading() as session:
        assert session.execute(select(Backbone.id)).all() == []


def test_a_file_that_needs_too_much_memory_is_refused(cli: Cli, tmp_path: Path) -> None:
    """No single value of this graph is too large, but a few of them together are."""
    grown = [helper.make_node("Conv", ["pixels", "wide"], ["maps0"], kernel_shape=[1, 1])]
    grown += [helper.make_node("Relu", ["maps0"], [f"kept{k}"]) for k in range(20)]
    grown += [helper.make_node("Sigmoid", [f"kept{k}"], [f"soft{k}"]) for k in range(20)]
    names = [f"soft{k}" for k in range(20)]
    sums = ["soft0", *(f"sum{k}" for k in range(1, 20))]
    grown += [
        helper.make_node("Add", [before, name], [after])
        for before, name, after in zip(sums, names[1:], sums[1:], strict=False)
    ]
    grown.append(helper.make_node("ReduceMean", [sums[-1]], ["features"], axes=[2, 3], keepdims=0))
    wide = constant("wide", np.ones((1400, 3, 1, 1)))
    path = tmp_path / "greedy.onnx"
    path.write_bytes(model(grown, [wide], out=("b", 1400)).SerializeToString())
    with pytest.raises(BackboneError, match=r"greedy\.onnx: .*(memory|fails on pictures)"):
        cli("backbones", "import", path, "--size", 128)


def test_a_check_that_takes_too_long_ends(cli: Cli, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importing, "_PATIENCE_S", 0.05)
    with pytest.raises(BackboneError, match=r"took more than 0\.05 s"):
        cli("backbones", "import", file)
