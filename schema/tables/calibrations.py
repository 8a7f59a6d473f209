"""Tables of calibrations: what was found, and what was asked for."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from schema.states import CalibrationState, PlanState
from schema.tables.columns import Base, Key, Leased, known


class Calibration(Leased, Base):
    """Sampling parameters fitted for one network on one solver graph, by runs over a validation set."""

    __tablename__ = "calibrations"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    network_id: Mapped[int] = mapped_column(ForeignKey("networks.id"))
    solver: Mapped[str] = mapped_column(String(128))  # local, exact, emulator or dwave
    graph_id: Mapped[str] = mapped_column(String(64))  # empty for a solver without a graph
    visible: Mapped[str] = mapped_column(String(16))  # sampled or folded
    state: Mapped[CalibrationState]
    name: Mapped[str] = mapped_column(Text)  # of the validation set
    images: Mapped[int]  # in the validation set
    image_digests: Mapped[bytes]  # (images, 32) uint8: SHA-256 of each image's pixels
    parameters: Mapped[dict[str, Any] | None]  # the best of those compared
    accuracy: Mapped[float | None]  # with them, on the validation set
    measured: Mapped[dict[str, Any] | None]  # all combinations that were compared
    budget_us: Mapped[int | None] = mapped_column(BigInteger)  # the most QPU time that its runs may take
    # How badly the right class of each validation image conforms to its reads.
    nonconformity: Mapped[bytes | None]
    dispatched_at: Mapped[datetime | None]  # of the latest hint
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        Index(None, "network_id", "solver", "graph_id"),
        Index(None, "state"),
        known(CalibrationState),
        CheckConstraint("images > 0", name="sizes_positive"),
        CheckConstraint("state <> 'fitting' OR lease_until IS NOT NULL", name="fitting_has_lease"),
        CheckConstraint(
            "state <> 'ready' OR "
            "(parameters IS NOT NULL AND accuracy IS NOT NULL AND finished_at IS NOT NULL)",
            name="ready_has_parameters",
        ),
        CheckConstraint("state <> 'failed' OR error IS NOT NULL", name="failed_says_why"),
    )


class CalibrationPlan(Leased, Base):
    """What a calibration was asked to compare; a worker makes runs of it, on the images that a budget allows.

    It has the id of its calibration. Calibrations of earlier versions have none.
    """

    __tablename__ = "calibration_plans"

    id: Mapped[int] = mapped_column(
        Key, ForeignKey("calibrations.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    state: Mapped[PlanState]
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("owners.id"))  # that asked by HTTP
    idempotency_key: Mapped[str | None] = mapped_column(String(255), unique=True)
    content_sha256: Mapped[str] = mapped_column(String(64))  # of everything that was asked for
    training_set_id: Mapped[int] = mapped_column(ForeignKey("training_sets.id"))  # all images offered
    settings: Mapped[list[dict[str, Any]]] = mapped_column(JSON(none_as_null=True))  # parameters of each run
    progress: Mapped[dict[str, Any] | None]  # of a search for an embedding, while it runs
    dispatched_at: Mapped[datetime | None]  # of the latest hint
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        Index(None, "state"),
        Index(None, "content_sha256"),
        known(PlanState),
        CheckConstraint("state <> 'planning' OR lease_until IS NOT NULL", name="planning_has_lease"),
        CheckConstraint("state <> 'ready' OR finished_at IS NOT NULL", name="ready_has_time"),
        CheckConstraint("state <> 'failed' OR error IS NOT NULL", name="failed_says_why"),
    )
