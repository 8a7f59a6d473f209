"""How long leases and submissions may take before the doctor reports them."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from schema.settings import TomlSettings, read


class ExaminationLimits(TomlSettings):
    """The settings of workers that the doctor needs: `[worker]`, or `ANNEALQ_WORKER_*`."""

    model_config = SettingsConfigDict(frozen=True, env_prefix="ANNEALQ_WORKER_", extra="ignore")
    toml_table: tuple[str, ...] = Field(default=("worker",), exclude=True, repr=False)

    lease_s: float = Field(default=60.0, gt=0)
    quarantine_s: float = Field(default=75.0, gt=0)

    @property
    def silence_s(self) -> float:
        """Return the age of an expired lease that no running reconciler would leave."""
        return 5 * self.lease_s


def load() -> ExaminationLimits:
    """Read the settings; raise ParameterError that names a wrong value."""
    return read(ExaminationLimits)
