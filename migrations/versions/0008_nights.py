"""Windows and deadlines of runs."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0004"
branch_labels = None
depends_on = None

_TIMES = ("opened_until", "deadline_at")


def upgrade() -> None:
    for name in _TIMES:
        op.execute(f"ALTER TABLE runs ADD COLUMN {name} {_moment()}")


def downgrade() -> None:
    # Words that the older code does not know; it has no windows and goes on when a person says so.
    op.execute("UPDATE runs SET paused_by = 'hand' WHERE paused_by IN ('window', 'deadline')")
    for name in reversed(_TIMES):
        op.execute(f"ALTER TABLE runs DROP COLUMN {name}")


def _moment() -> str:
    """A time, as the database at hand spells it."""
    return "DATETIME" if op.get_bind().dialect.name == "sqlite" else "TIMESTAMP WITH TIME ZONE"
