"""`annealq runs bundle` and `annealq verify`, as users call them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from producer.networks.chosen import ChosenNetwork
from schema.errors import AnnealqError, InputError, NotFound, ParameterError
from schema.parameters import Parameters, Solver
from tests.integration.conftest import Cli
from tests.integration.proof.bundles import LICENCE, classify, verified
from worker.context import Context

ROOT = Path(__file__).parents[3]
# What differs from machine to machine: threads, kernels of BLAS, vector instructions as numpy 2.4 calls them.
MACHINES = [
    {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL"},
]


def verify_elsewhere(path: Path, home: Path, *options: str, **variables: str) -> tuple[int, str]:
    """Verify without a database, and with a home that does not exist; return exit code and output."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("ANNEALQ_")}
    env |= {"HOME": str(home), "ANNEALQ_DATABASE_URL": f"sqlite:///{home}/none.db", **variables}
    command = [sys.executable, "-m", "producer", "verify", str(path), *options]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert not home.exists()
    return done.returncode, done.stdout or done.stderr


def keys(folder: Path) -> tuple[Path, Path]:
    key = Ed25519PrivateKey.generate()
    private, public = folder / "key.pem", folder / "public.pem"
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    private.write_bytes(key.private_bytes(*form))
    pem = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    public.write_bytes(key.public_key().public_bytes(*pem))
    return private, public


@pytest.mark.slow
def test_a_bundle_is_written_signed_and_verified_on_other_machines(
    context: Context, network: ChosenNetwork, cli: Cli, tmp_path: Path
) -> None:
    run = classify(context, network, Solver.LOCAL, Parameters(reads=10))
    path, (private, public) = tmp_path / "run.zip", keys(tmp_path)
    options = ("--images", "--sign", private, "--licence", LICENCE, "--json")
    said = json.loads(cli("runs", "bundle", run, "-o", path, *options))
    assert (said["run_id"], said["wrong"], len(said["root"])) == (run, [], 64)
    home = tmp_path / "nowhere"
    results = []
    for machine in MACHINES:
        code, text = verify_elsewhere(path, home, "--key", str(public), "--json", **machine)
        assert code == 0, text
        found = json.loads(text)
        # Features by torch are compared within a bound: the words about them may differ.
        found["proven"] = [each for each in found["proven"] if "features" not in each]
        results.append(found)
    assert results[0] == results[1]
    assert results[0]["root"] == said["root"]


def test_wrong_input_is_refused_before_anything_is_written(
    context: Context, network: ChosenNetwork, cli: Cli, tmp_path: Path
) -> None:
    run = classify(context, network, Solver.LOCAL, Parameters(reads=2), images=3)
    path = tmp_path / "run.zip"
    with pytest.raises(NotFound, match="run 99 does not exist"):
        cli("runs", "bundle", 99, "-o", path)
    with pytest.raises(InputError, match=r"private\.pem cannot be read"):
        cli("runs", "bundle", run, "-o", path, "--sign", tmp_path / "private.pem")
    with pytest.raises(AnnealqError, match="cannot be written"):
        cli("runs", "bundle", run, "-o", tmp_path / "no" / "run.zip")
    assert not [each for each in tmp_path.iterdir() if each.suffix in (".zip", ".part")]


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.zip"
    with pytest.raises(ParameterError, match="cannot be read: No such file"):
        verified(path)
    path.touch()
    with pytest.raises(ParameterError, match="cannot be read: it is empty"):
        verified(path)
    path.write_text("not a bundle, but long enough to be one")
    assert verified(path).wrong == [("the zip directory", "is missing: this is not a bundle of annealq")]
