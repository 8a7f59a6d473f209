"""Damage by plain SQL to the database of `test_doctor`, and the exact findings of the doctor."""

# ruff: noqa: S608 - the statements are made of constants

from __future__ import annotations

LONG_AGO = "2020-01-01 00:00:00"


def unfinished(state: str, *more: str) -> tuple[str, ...]:
    """Run 1 is in a state that batch 1, which is pending, does not allow; all counters agree."""
    return (
        "UPDATE batches SET state = 'pending', scored_at = NULL, dispatched_at = NULL WHERE id = 1",
        "DELETE FROM classifications WHERE run_id = 1 AND image < 10",
        f"UPDATE runs SET batches_scored = 2, state = '{state}' WHERE id = 1",
        *more,
    )


PROBLEM = (
    "INSERT INTO problems (id, batch_id, ordinal, first_image, count, label, state, reserved_at, sending_at, "
    f"times_sent) VALUES (9, 4, 0, 0, 10, 'annealq:9', 'sending', '{LONG_AGO}', '{LONG_AGO}', 1)"
)
RUNNING = f"UPDATE runs SET state = 'running', started_at = '{LONG_AGO}' WHERE id = 2"
SAMPLING = (
    f"UPDATE batches SET state = 'sampling', fence = 1, attempts = 1, started_at = '{LONG_AGO}', "
    f"lease_until = '{LONG_AGO}' WHERE id = 4"
)

# What is planted, and exactly what is found: check, table, row, whether it can be repaired.
DAMAGES: dict[str, tuple[tuple[str, ...], list[tuple[str, str, int | None, bool]]]] = {
    "scored batches": (
        ("UPDATE runs SET batches_scored = 1 WHERE id = 1",),
        [("run-counts", "runs", 1, True)],
    ),
    "failed batches": (
        ("UPDATE runs SET batches_failed = 1 WHERE id = 2",),
        [("run-counts", "runs", 2, True)],
    ),
    "images": (("UPDATE runs SET images = 26 WHERE id = 1",), [("run-counts", "runs", 1, True)]),
    "batches": (("UPDATE runs SET batches = 4 WHERE id = 1",), [("run-counts", "runs", 1, True)]),
    "a batch is gone": (
        ("DELETE FROM batches WHERE id = 4",),
        [
            ("run-counts", "runs", 2, False),
            ("batch-gaps", "runs", 2, False),
            ("orphans", "batch_images", 4, False),
        ],
    ),
    "a classification is gone": (
        ("DELETE FROM classifications WHERE run_id = 1 AND image = 13",),
        [("classifications", "batches", 2, False)],
    ),
    "a classification came early": (
        (
            "INSERT INTO classifications (run_id, image, status, scores, margin, one_hot_fraction, "
            "lowest_energy) SELECT 2, 3, 'undecided', scores, 0, 0, 0 FROM classifications "
            "WHERE run_id = 1 AND image = 3",
        ),
        [("classifications", "batches", 4, True)],
    ),
    "done too early": (unfinished("done"), [("run-states", "runs", 1, False)]),
    "failed too early": (unfinished("failed"), [("run-states", "runs", 1, False)]),
    "aggregating too early": (
        unfinished("aggregating', finished_at = NULL, error = '"),
        [("run-states", "runs", 1, True)],
    ),
    "done with a failed batch": (
        (
            "UPDATE batches SET state = 'failed', error = 'x', scored_at = NULL WHERE id = 1",
            "DELETE FROM classifications WHERE run_id = 1 AND image < 10",
            "UPDATE runs SET batches_scored = 2, batches_failed = 1 WHERE id = 1",
        ),
        [("run-states", "runs", 1, False)],
    ),
    "a run that never began": (
        ("UPDATE runs SET started_at = NULL WHERE id = 1",),
        [("times", "runs", 1, False)],
    ),
    "a batch that never began": (
        ("UPDATE batches SET started_at = NULL WHERE id = 1",),
        [("times", "batches", 1, False)],
    ),
    "paused by nothing": (
        ("UPDATE runs SET state = 'paused' WHERE id = 2",),
        [("times", "runs", 2, False)],
    ),
    "not paused any more": (
        ("UPDATE runs SET paused_by = 'hand' WHERE id = 2",),
        [("times", "runs", 2, True)],
    ),
    "a lease is left": (
        (f"UPDATE batches SET lease_until = '{LONG_AGO}' WHERE id = 2",),
        [("times", "batches", 2, True)],
    ),
    "answered without a charge": (
        ("UPDATE problems SET times_sent = 1, sapi_id = 'x', sent_at = reserved_at WHERE id = 2",),
        [("times", "problems", 2, False)],
    ),
    "a silent worker": ((RUNNING, SAMPLING), [("leases", "batches", 4, True)]),
    "a silent trainer": (
        (f"UPDATE networks SET state = 'training', lease_until = '{LONG_AGO}'",),
        [("leases", "networks", 1, True)],
    ),
    "sending for ever": ((PROBLEM,), [("sending", "problems", 9, False)]),
    "sending under a dead lease": (
        (RUNNING, SAMPLING, PROBLEM),
        [("leases", "batches", 4, True), ("sending", "problems", 9, False)],
    ),
    "the run of waiting batches is gone": (
        ("DELETE FROM runs WHERE id = 2",),
        [("orphans", "batches", 4, True), ("orphans", "batches", 5, True)],
    ),
    "the run of classifications is gone": (
        (
            "DELETE FROM sample_sets",
            "DELETE FROM problems",
            "DELETE FROM batch_images WHERE batch_id < 4",
            "DELETE FROM batches WHERE run_id = 1",
            "DELETE FROM runs WHERE id = 1",
        ),
        [("orphans", "classifications", 1, True)],
    ),
    "the batch of reads is gone": (
        (
            "DELETE FROM batch_images WHERE batch_id IN (2, 3)",
            "DELETE FROM batches WHERE run_id = 1 AND id > 1",
            "DELETE FROM classifications WHERE run_id = 1 AND image >= 10",
            "UPDATE runs SET batches = 1, batches_scored = 1, images = 10 WHERE id = 1",
            "DELETE FROM sample_sets WHERE problem_id = 3",
        ),
        [("orphans", "problems", 2, False), ("orphans", "problems", 3, False)],
    ),
    "the problem of reads is gone": (
        ("DELETE FROM problems WHERE id = 1",),
        [("orphans", "sample_sets", 1, False), ("coverage", "batches", 1, False)],
    ),
    "a network is gone": (
        ("DELETE FROM networks",),
        [("orphans", "runs", 1, False), ("orphans", "runs", 2, False)],
    ),
    "a problem is gone with its reads": (
        ("DELETE FROM sample_sets WHERE problem_id = 1", "DELETE FROM problems WHERE id = 1"),
        [("coverage", "batches", 1, False)],
    ),
    "the images of a batch are gone": (
        ("DELETE FROM batch_images WHERE batch_id = 4",),
        [("images", "batches", 4, False)],
    ),
    "reads are gone": (
        ("DELETE FROM sample_sets WHERE problem_id = 2",),
        [("sample-sets", "problems", 2, False)],
    ),
    "reads without an answer": (
        ("UPDATE problems SET state = 'failed', answered_at = NULL WHERE id = 2",),
        [("coverage", "batches", 2, False), ("sample-sets", "problems", 2, False)],
    ),
    "spent more than the sums say": (
        ("UPDATE problems SET wasted_us = 5000, sending_at = reserved_at WHERE id = 2",),
        [("spendings", "runs", 1, True)],
    ),
    "spent less than the sums say": (
        ("INSERT INTO spendings (run_id, day, spent_us) VALUES (1, '2026-01-01', 5000)",),
        [("spendings", "runs", 1, False)],
    ),
    "an older revision": (
        ("UPDATE alembic_version SET version_num = '0001'",),
        [("revision", "alembic_version", None, False)],
    ),
    "a newer revision": (
        ("UPDATE alembic_version SET version_num = '9999'",),
        [("revision", "alembic_version", None, False)],
    ),
    "a table is gone": (("DROP TABLE leaders",), [("revision", "leaders", None, False)]),
    "a column is gone": (
        ("ALTER TABLE runs DROP COLUMN pause_reason",),
        [("revision", "runs", None, False)],
    ),
}
