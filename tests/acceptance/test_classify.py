"""Classifies from the command line, through a real broker and real workers."""

from __future__ import annotations

import csv
import gzip
import io
import json
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.acceptance.conftest import own_stack, running_stack, show, stored
from tests.conftest import administer, annealq, named

Digits = tuple[np.ndarray, np.ndarray]


def rows(home: Path, table: str) -> int:
    with stored(home) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608


def idx(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_every_kind(folder: Path, images: np.ndarray, labels: np.ndarray) -> dict[str, str]:
    """The same labelled images as every kind of source: name -> what to type."""
    (folder / "d-images-idx3-ubyte").write_bytes(idx(images))
    (folder / "d-labels-idx1-ubyte").write_bytes(idx(labels))
    (folder / "z-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    (folder / "z-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    np.savez(folder / "d.npz", images=images, labels=labels)
    np.save(folder / "d.npy", images)
    table = np.column_stack([labels, images.reshape(len(images), -1)])
    np.savetxt(folder / "d.csv", table, fmt="%d", delimiter=",")
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        place = folder / "tree" / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{index:03}.png")
    kinds = ("d-images-idx3-ubyte", "z-images-idx3-ubyte.gz", "d.npz", "d.npy", "d.csv", "tree")
    return {kind: str(folder / kind) for kind in kinds}


def test_every_kind_of_source_gives_the_same_answer(home: Path, tmp_path: Path, digits: Digits) -> None:
    images, labels = digits[0][:40], digits[1][:40]
    right = {}
    with own_stack(home):
        for kind, source in write_every_kind(tmp_path, images, labels).items():
            done = annealq("classify", source, "--reads", "20", "--json")
            assert done.returncode == 0, (kind, done.stderr)
            run = json.loads(done.stdout)
            assert run["state"] == "done"
            assert (run["images"], run["decided"] + run["undecided"]) == (40, 40)
            right[kind] = run["accuracy"]
    assert right.pop("d.npy") is None  # it has no labels
    assert right.pop("tree") == pytest.approx(next(iter(right.values())), abs=0.1)  # in another order
    assert len(set(right.values())) == 1
    assert min(right.values()) > 0.8


def test_one_command_embedded_from_an_idle_home(home: Path) -> None:
    command = ("classify", "sklearn:digits", "--limit", "150", "--classes", "0,1,7", "--embedded")
    done = annealq(*command, "--idempotency-key", "k", "--json")
    assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout)
    needed = {
        *("run_id", "state", "images", "decided", "undecided", "accuracy"),
        *("name", "network", "solver", "parameters", "statistics"),
    }
    assert needed <= set(run)
    figures = {
        *("images_per_second", "qpu_access_time_us", "qpu_access_time_us_per_image", "latency_ms"),
        *("problems_sent", "problems_adopted", "problems_resubmitted", "duplicates"),
        *("embedding_hits", "embedding_misses", "queue_wait_ms", "sampling_seconds"),
    }
    assert figures <= set(run["statistics"])
    assert set(run["statistics"]["latency_ms"]) == {"p50", "p95", "p99"}
    assert (run["state"], run["images"]) == ("done", 150)
    assert run["accuracy"] > 0.9

    again = annealq(*command, "--idempotency-key", "k", "--json")
    assert json.loads(again.stdout)["run_id"] == run["run_id"]
    other = annealq(*command, "--idempotency-key", "k", "--reads", "7")
    assert other.returncode == 2
    assert "'k' belongs to run" in other.stderr


@pytest.mark.slow
def test_the_same_seed_gives_the_same_reads_however_batches_are_cut(home: Path, digits_file: str) -> None:
    with own_stack(home):
        ids = []
        for size in ("10", "35"):
            command = ("classify", digits_file, "-l", "70", "-r", "30", "--batch-size", size)
            done = annealq(*command, "--json")
            ids.append(json.loads(done.stdout)["run_id"])
    exports = [annealq("runs", "export", str(run)).stdout for run in ids]
    assert exports[0] == exports[1]
    assert len(exports[0].splitlines()) == 71


@pytest.mark.slow
def test_runs_are_listed_shown_exported_and_watched_later(
    home: Path, tmp_path: Path, digits_file: str
) -> None:
    with own_stack(home):
        detached = annealq("classify", digits_file, "-l", "60", "-r", "20", "--detach", "--json")
        run = json.loads(detached.stdout)["run_id"]
        watched = annealq("runs", "watch", str(run))
        assert watched.returncode == 0, watched.stderr
    assert "images by true class" in watched.stdout
    assert json.loads(annealq("runs", "list", "--json").stdout)[0]["run_id"] == run
    assert "digits@1" in annealq("runs", "list").stdout
    assert "accuracy" in annealq("runs", "show", str(run), "--scores").stdout

    table = list(csv.DictReader(io.StringIO(annealq("runs", "export", str(run)).stdout)))
    right = sum(row["predicted_class"] == row["true_class"] for row in table)
    assert right / 60 == show(run)["accuracy"]
    for name in ("out.csv", "out.json", "out.parquet"):
        assert annealq("runs", "export", str(run), "-o", str(tmp_path / name)).returncode == 0
    assert len(json.loads((tmp_path / "out.json").read_text())) == 60
    import pyarrow.parquet

    assert pyarrow.parquet.read_table(tmp_path / "out.parquet").num_rows == 60


@pytest.mark.slow
def test_the_exact_solver_agrees_with_the_local_one(home: Path, digits_file: str) -> None:
    with own_stack(home):
        found = {}
        for solver in ("local", "exact"):
            done = annealq("classify", digits_file, "-l", "100", "-s", solver, "--json")
            found[solver] = json.loads(done.stdout)["accuracy"]
    assert abs(found["local"] - found["exact"]) <= 0.03
    assert found["exact"] > 0.9


@pytest.mark.slow
def test_nothing_half_written_after_bad_input(home: Path, tmp_path: Path, digits: Digits) -> None:
    """Every wrong input ends in one line that names it, exit code 2, and no row."""
    images, labels = digits[0][:9], digits[1][:9]
    np.savez(tmp_path / "good.npz", images=images, labels=labels)
    good = str(tmp_path / "good.npz")
    np.savez(tmp_path / "big.npz", images=np.zeros((2, 28, 28), np.uint8))
    np.savez(tmp_path / "labels.npz", images=images, labels=labels[:5])
    np.savez(tmp_path / "range.npz", images=images, labels=labels + 10)
    np.save(tmp_path / "nan.npy", np.full((1, 8, 8), np.nan))
    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "empty.npy", np.zeros((0, 8, 8), np.uint8))
    (tmp_path / "magic-idx3-ubyte").write_bytes(b"GIF89a" + bytes(100))
    (tmp_path / "cut-images-idx3-ubyte").write_bytes(idx(images)[:-1])
    (tmp_path / "cut.gz").write_bytes(gzip.compress(idx(images))[:-9])
    (tmp_path / "mixed").mkdir()
    for size in (8, 9):
        Image.fromarray(np.zeros((size, size), np.uint8)).save(tmp_path / "mixed" / f"{size}.png")
    cases: dict[str, tuple[str, ...]] = {
        "nosuch.npz": (str(tmp_path / "nosuch.npz"),),
        "28 x 28": (str(tmp_path / "big.npz"), "-n", "digits"),
        "labels": (str(tmp_path / "labels.npz"),),
        "10 classes": (str(tmp_path / "range.npz"),),
        "nan.npy": (str(tmp_path / "nan.npy"),),
        "pickle": (str(tmp_path / "pickled.npy"),),
        "empty.npy": (str(tmp_path / "empty.npy"),),
        "magic-idx3-ubyte": (str(tmp_path / "magic-idx3-ubyte"),),
        "cut-images-idx3-ubyte": (str(tmp_path / "cut-images-idx3-ubyte"),),
        "cut.gz": (str(tmp_path / "cut.gz"),),
        "mixed": (str(tmp_path / "mixed"),),
        "nosuch": (good, "-n", "nosuch"),
        "quantum": (good, "-s", "quantum"),
        "reads is 0": (good, "-r", "0"),
        "reads is -5": (good, "-r", "-5"),
        "fraction is 0": (good, "--fraction", "0"),
        "limit is 0": (good, "--limit", "0"),
        "batch size": (good, "--batch-size", "0"),
    }
    with own_stack(home):
        before = rows(home, "runs"), rows(home, "batches"), rows(home, "events")
        for message, arguments in cases.items():
            done = annealq("classify", *arguments)
            assert done.returncode == 2, (message, done.stdout, done.stderr)
            assert message in done.stderr.replace("\n", " "), (message, done.stderr)
            assert "Traceback" not in done.stderr
            assert len(done.stderr.strip().splitlines()) <= 3
        assert (rows(home, "runs"), rows(home, "batches"), rows(home, "events")) == before


def test_a_broker_that_is_not_there_is_named_with_the_way_out(home: Path, digits_file: str) -> None:
    done = annealq("classify", digits_file, "-l", "5")
    assert done.returncode == 1
    for words in ("no broker answers at", "broker.sock", "annealq up", "--embedded", "ANNEALQ_BROKER_URL"):
        assert words in done.stderr
    assert rows(home, "runs") == 0


def test_a_newer_database_is_refused(home: Path, digits_file: str) -> None:
    with stored(home) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    for command in (("runs", "list"), ("up",), ("classify", digits_file, "--embedded")):
        done = annealq(*command)
        assert done.returncode == 1, command
        assert "newer than this annealq" in done.stderr


def test_an_empty_home_says_how_to_begin(tmp_path: Path) -> None:
    env = {"ANNEALQ_HOME": str(tmp_path / "fresh")}
    assert "annealq db upgrade" in annealq("runs", "list", env=env).stderr
    assert annealq("db", "upgrade", env=env).returncode == 0
    assert "no runs yet" in annealq("runs", "list", env=env).stdout
    done = annealq("runs", "show", "7", env=env)
    assert (done.returncode, "no run 7" in done.stderr) == (1, True)
    assert annealq("db", "downgrade", "base", "--yes", env=env).returncode == 0


@pytest.mark.slow
def test_damaged_samples_fail_their_batch_and_the_others_are_kept(home: Path, digits_file: str) -> None:
    command = (
        "classify",
        digits_file,
        "-l",
        "60",
        "-r",
        "20",
        "--batch-size",
        "20",
        "--embedded",
        "--json",
    )
    assert annealq(*command, "--idempotency-key", "k").returncode == 0
    with stored(home) as connection:
        # As if a crash had struck between sampling and scoring, and the disk had lost a byte.
        connection.executescript("""
            UPDATE batches SET state = 'sampled', scored_at = NULL;
            DELETE FROM classifications;
            UPDATE runs SET state = 'running', finished_at = NULL, batches_scored = 0;
        """)
        (data,) = connection.execute("SELECT data FROM sample_sets WHERE id = 2").fetchone()
        damaged = data[:100] + bytes([data[100] ^ 1]) + data[101:]
        connection.execute("UPDATE sample_sets SET data = ? WHERE id = 2", (damaged,))
    done = annealq(*command, "--idempotency-key", "k")
    assert done.returncode == 1
    shown = json.loads(done.stdout)
    assert (shown["state"], shown["decided"] + shown["undecided"]) == ("failed", 40)
    assert "1 of its batches failed" in shown["error"]
    assert "damaged" in shown["error"]


def test_the_whole_road_on_postgresql(
    postgresql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits_file: str
) -> None:
    name = "annealq_acceptance"
    administer(postgresql, f"CREATE DATABASE {name}")
    monkeypatch.setenv("ANNEALQ_DATABASE_URL", named(postgresql, name))
    monkeypatch.setenv("ANNEALQ_HOME", str(tmp_path))
    with running_stack(tmp_path):
        train = ("networks", "train", "digits", "--data", digits_file, "--epochs", "6", "--json")
        assert json.loads(annealq(*train).stdout)["state"] == "ready"
        done = annealq("classify", digits_file, "-l", "300", "--json")
    run = json.loads(done.stdout)
    assert (run["state"], run["decided"] + run["undecided"]) == ("done", 300)
    assert run["accuracy"] > 0.85
