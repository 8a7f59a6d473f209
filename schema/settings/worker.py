"""Settings of a worker: the table `[worker]` of `annealq.toml`, or `ANNEALQ_WORKER_*`."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from schema.settings.toml import TomlSettings


class WorkerSettings(TomlSettings):
    """Frozen settings of a worker."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="ANNEALQ_WORKER_", extra="ignore")
    toml_table: tuple[str, ...] = Field(default=("worker",), exclude=True, repr=False)

    lease_s: float = Field(default=60.0, gt=0, description="A lease not renewed for this long is lost.")
    max_attempts: int = Field(default=5, ge=1, description="Claims without an answer that fail a batch.")
    retry_base_s: float = Field(default=2.0, gt=0, description="Wait before the first retry; then doubled.")
    retry_limit_s: float = Field(default=300.0, gt=0, description="Longest wait before a retry.")
    waiting_hints: int = Field(default=32, ge=1, description="Messages that wait in the broker at most.")
    rehint_s: float = Field(default=60.0, gt=0, description="A hint without effect for this long is lost.")
    rehint_idle_s: float = Field(default=2.0, gt=0, description="The same while the broker has no messages.")
    reconcile_every_s: float = Field(default=1.0, gt=0, description="Pause between passes of the reconciler.")
    leader_lease_s: float = Field(default=10.0, gt=0, description="Lease of the leading reconciler.")
    solver_timeout_s: float = Field(default=60.0, gt=0, description="Limit of one request to a solver.")
    solver_refresh_s: float = Field(default=300.0, gt=0, description="Age at which a solver is read again.")
    quarantine_s: float = Field(
        default=75.0,
        gt=0,
        description="A problem that may have arrived is not sent again before; above solver_timeout_s.",
    )
    recheck_s: float = Field(
        default=300.0,
        gt=0,
        description="Wait before a problem that was sent twice is looked for again; at last 144 times.",
    )
    collect_s: float = Field(default=600.0, gt=0, description="Longest wait for an answer of a solver.")
    in_flight: int = Field(default=32, ge=1, le=900, description="Problems in flight of one process at most.")
    solver_in_flight: int = Field(
        default=400,
        ge=1,
        le=900,
        description="Problems in flight on a QPU at most, all workers together; D-Wave takes 1,000.",
    )
    day_budget_s: float | None = Field(
        default=None,
        ge=0,
        description="QPU seconds a day (UTC) for each of emulator and dwave.",
    )
    month_budget_s: float | None = Field(
        default=None,
        ge=0,
        description="QPU seconds a calendar month (UTC) for each of emulator and dwave.",
    )
    window_margin_s: float = Field(
        default=5.0,
        ge=0,
        description="Margin for answers before a window closes or a deadline passes.",
    )
    breaker_failures: int = Field(default=3, ge=1, description="Consecutive failures that open the circuit.")
    probe_s: float = Field(default=3.0, gt=0, description="Pause between tests of a broken solver.")
    check_problems: bool = Field(
        default=True,
        description="Measure a chip by each answer, make up for its bias, and send again what it got wrong.",
    )
    control_images: int = Field(
        default=200,
        ge=0,
        description="Images on random bits, compared with an accuracy on qubits; 1 s at most; 0: none.",
    )
    calibration_days: float = Field(
        default=30.0,
        gt=0,
        description="Age of a calibration, in days, above which its sets of classes guarantee nothing.",
    )
    embedding_s: float = Field(default=60.0, gt=0, description="Time limit of a search for an embedding.")
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65_535,
        description="Port of metrics for Prometheus, another for each worker of a machine; 0: any free one.",
    )
    metrics_host: str = Field(default="127.0.0.1", description="Address at which metrics are served.")
    training_threads: int = Field(default=0, ge=0, description="Threads for training; 0: one per processor.")

    @property
    def day_budget_us(self) -> int | None:
        """Return the budget of a day in microseconds."""
        return None if self.day_budget_s is None else round(self.day_budget_s * 1e6)

    @property
    def month_budget_us(self) -> int | None:
        """Return the budget of a month in microseconds."""
        return None if self.month_budget_s is None else round(self.month_budget_s * 1e6)
