"""Several feature sets of a batch or a network: one for each of its backbones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TABLES = (("batches", "batch_features", "batch_id"), ("networks", "network_features", "network_id"))


def upgrade() -> None:
    for table, links, key in _TABLES:
        op.create_table(
            links,
            sa.Column(key, _KEY, autoincrement=False, nullable=False),
            sa.Column("feature_set_id", _KEY, autoincrement=False, nullable=False),
            sa.ForeignKeyConstraint(
                [key], [f"{table}.id"], name=op.f(f"fk_{links}_{key}"), ondelete="CASCADE"
            ),
            sa.ForeignKeyConstraint(
                ["feature_set_id"],
                ["feature_sets.id"],
                name=op.f(f"fk_{links}_feature_set_id"),
                ondelete="CASCADE",
            ),
            sa.PrimaryKeyConstraint(key, "feature_set_id", name=op.f(f"pk_{links}")),
        )
        op.create_index(op.f(f"ix_{links}_feature_set_id"), links, ["feature_set_id"], unique=False)
        op.execute(
            f"INSERT INTO {links} ({key}, feature_set_id) "  # noqa: S608 - names of this file
            f"SELECT id, feature_set_id FROM {table} WHERE feature_set_id IS NOT NULL"
        )
        op.drop_index(op.f(f"ix_{table}_feature_set_id"), table_name=table)
        op.execute(f"ALTER TABLE {table} DROP COLUMN feature_set_id")


def downgrade() -> None:
    # A batch or network of several backbones loses all but one: the earlier version computes none of them.
    number = "INTEGER" if op.get_bind().dialect.name == "sqlite" else "BIGINT"
    for table, links, key in _TABLES:
        op.execute(
            f"ALTER TABLE {table} ADD COLUMN feature_set_id {number} CONSTRAINT fk_{table}_feature_set_id "
            "REFERENCES feature_sets (id)"
        )
        op.create_index(op.f(f"ix_{table}_feature_set_id"), table, ["feature_set_id"], unique=False)
        op.execute(
            f"UPDATE {table} SET feature_set_id = "  # noqa: S608 - names of this file
            f"(SELECT min(feature_set_id) FROM {links} WHERE {key} = {table}.id)"
        )
        op.drop_table(links)
