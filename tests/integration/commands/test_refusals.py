"""Commands refuse what is wrong by the database alone before they look for a broker."""

from __future__ import annotations

from pathlib import Path

import pytest

from producer.networks.chosen import ChosenNetwork
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.errors import AnnealqError, BrokerUnavailable, IdempotencyConflict, NotFound, ParameterError
from schema.parameters import Parameters, Solver
from tests.integration.conftest import Cli, some_images


@pytest.fixture(autouse=True)
def _without_broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNEALQ_HOME", str(tmp_path))
    monkeypatch.delenv("ANNEALQ_BROKER_URL", raising=False)


@pytest.mark.parametrize(
    ("options", "error", "why"),
    [
        (
            ("--confidence", "0.9"),
            ParameterError,
            r"confidence 0.9 needs a calibration of digits@\d .*--data",
        ),
        (("--target", "99%"), ParameterError, "a target needs a calibration"),
        (("--network", "unknown"), AnnealqError, "no network 'unknown' is ready"),
        (("--network", "mnist"), AnnealqError, "mnist.*28 x 28"),
        (("--idempotency-key", "taken"), IdempotencyConflict, "key 'taken' belongs to run 1"),
        (("--reads", "7"), BrokerUnavailable, "no broker answers"),
    ],
)
def test_a_run_that_the_database_refuses_is_refused_without_a_broker(
    database: Database, network: ChosenNetwork, cli: Cli, options: tuple[str, ...], error: type, why: str
) -> None:
    earlier = RunOptions(key="taken")
    enqueue_run(database, some_images(3), network, Solver.LOCAL, Parameters(), earlier)
    with pytest.raises(error, match=why):
        cli("classify", "digits", "--limit", 5, *options)


def test_a_rescoring_that_the_database_refuses_is_refused_without_a_broker(
    database: Database, network: ChosenNetwork, cli: Cli
) -> None:
    with pytest.raises(NotFound, match="no run 1"):
        cli("runs", "rescore", 1, "--rule", "boltzmann")
    run = enqueue_run(database, some_images(3), network, Solver.LOCAL, Parameters(), RunOptions()).id
    with pytest.raises(ParameterError, match="is queued: wait until it is finished"):
        cli("runs", "rescore", run, "--rule", "boltzmann")
