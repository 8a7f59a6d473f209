"""Runs are found, compared and deleted."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sqlalchemy import func, insert, select

from producer.networks.chosen import ChosenNetwork
from producer.reports.comparison import compare_runs, mcnemar
from producer.runs import queries
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.codecs.arrays import decode_scores
from schema.database import Database
from schema.errors import NotFound, ParameterError
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver
from schema.tables import Base, Problem, Run, Spending
from tests.integration.conftest import Cli, some_images, work_off
from worker.context import Context


def classify(
    context: Context, network: ChosenNetwork, *, images: int = 25, seed: int = 0, batch: int = 10
) -> int:
    """Finish a run of labelled images by a network of random weights, which is often wrong."""
    parameters, options = Parameters(reads=3, seed=seed, sweeps=1), RunOptions(batch_size=batch)
    run = enqueue_run(context.database, some_images(images), network, Solver.LOCAL, parameters, options)
    work_off(context, Message(Task.DISPATCH))
    return run.id


def test_a_comparison_counts_what_the_classifications_say(
    context: Context, working: ChosenNetwork, cli: Cli
) -> None:
    first, second = classify(context, working), classify(context, working, seed=5, batch=7)
    with context.database.reading() as session:
        found = compare_runs(session, first, second)
        both = [list(queries.classified(session, run)) for run in (first, second)]
    pairs = list(zip(*both, strict=True))
    differing = [one.image for one, other in pairs if one.predicted != other.predicted]
    assert differing, "the test needs runs that differ"
    assert [each.image for each in found.differences] == differing
    assert found.images == found.agree + len(differing) == 25
    assert found.right == tuple(sum(one.predicted == one.label for one in run) for run in both)
    assert found.right[0] - found.right[1] == found.only_first_right - found.only_second_right
    for run, rows, losses in zip((first, second), both, found.losses, strict=True):
        assert losses is not None
        assert losses.images == 25
        shares = decode_scores([row.probabilities or b"" for row in rows], 10).astype(float)
        right = [each[row.label or 0] for each, row in zip(shares, rows, strict=True)]
        assert losses.negative_log_likelihood == pytest.approx(-np.mean(np.log(right)))
        with context.database.reading() as session:
            statistics = queries.run(session, run).statistics or {}
        assert losses.negative_log_likelihood == pytest.approx(statistics["negative_log_likelihood"])
        assert losses.brier_score == pytest.approx(statistics["brier_score"])
        assert losses.calibration_error == pytest.approx(statistics["calibration_error"], rel=1e-5)
    text = cli("runs", "compare", first, second)
    assert all(name in text for name in ("ECE", "negative log-likelihood", "Brier score"))
    assert json.loads(cli("runs", "compare", first, second, "--json"))["losses"][0]["images"] == 25
    with context.database.reading() as session:
        same = compare_runs(session, first, first)
    assert (same.agree, same.p_value, same.differences) == (25, 1.0, ())


def test_runs_of_other_images_are_not_compared(context: Context, working: ChosenNetwork) -> None:
    first, second = classify(context, working), classify(context, working, images=24)
    with context.database.reading() as session, pytest.raises(ParameterError, match="different images"):
        compare_runs(session, first, second)
    with context.database.reading() as session, pytest.raises(NotFound, match="no run 99"):
        compare_runs(session, first, 99)


def test_the_approximation_of_many_images_is_near_the_exact_test() -> None:
    exact, approximate = mcnemar(470, 530), mcnemar(471, 531)
    assert approximate == pytest.approx(exact, rel=0.03)
    assert mcnemar(10_000, 11_000) < 1e-9


def test_a_deleted_run_leaves_nothing_but_its_events(
    context: Context, working: ChosenNetwork, cli: Cli, database: Database
) -> None:
    run, other = classify(context, working), classify(context, working, seed=5)
    tables = [table for table in Base.metadata.sorted_tables if "run_id" in table.columns]

    def rows() -> dict[str, int]:
        with database.reading() as session:
            problems = session.execute(select(func.count()).select_from(Problem)).scalar_one()
            counts = {
                table.name: session.execute(
                    select(func.count()).select_from(table).where(table.c.run_id == run)
                ).scalar_one()
                for table in tables
            }
        return counts | {"problems": problems}

    assert rows()["problems"] == 6  # of both: a problem for each batch of 10, 10 and 5 images
    cli("runs", "delete", run)
    assert rows() == dict.fromkeys((table.name for table in tables), 0) | {"problems": 3}
    with pytest.raises(NotFound):
        cli("runs", "delete", run)
    assert [each["run_id"] for each in json.loads(cli("runs", "list", "--json"))] == [other]


def test_what_budgets_need_is_not_deleted_unasked(context: Context, working: ChosenNetwork, cli: Cli) -> None:
    run = classify(context, working)
    with context.database.transaction() as session:
        day = context.database.now(session).date()
        session.execute(insert(Spending).values(run_id=run, day=day, spent_us=1_500.0))
    with pytest.raises(ParameterError, match=r"0\.001500 s of QPU time.*--with-charges"):
        cli("runs", "delete", run)
    cli("runs", "delete", run, "--with-charges")


def test_runs_are_listed_by_state_name_network_and_time(
    context: Context, working: ChosenNetwork, cli: Cli
) -> None:
    done = classify(context, working)
    queued = enqueue_run(
        context.database, some_images(5), working, Solver.LOCAL, Parameters(reads=4), RunOptions()
    ).id

    def found(*options: object) -> list[int]:
        return [each["run_id"] for each in json.loads(cli("runs", "list", "--json", *options))]

    assert found() == [queued, done]
    assert found("--state", "done") == [done]
    assert found("--name", "RAND") == [queued, done]
    assert found("--name", "%") == []
    assert found("--network", "digits@1") == [queued, done]
    assert found("--network", "digits@2") == []
    assert found("--since", "2100-01-01") == []
    assert json.loads(cli("runs", "list", "--json"))[1]["accuracy"] is not None
    assert "no such runs" in cli("runs", "list", "--state", "failed")
    with context.database.reading() as session:
        assert session.execute(select(func.count()).select_from(Run)).scalar_one() == 2
