"""Keys and dry runs over HTTP."""

from __future__ import annotations

import httpx
import pytest

from producer.api.keys import keys
from producer.api.keys.keys import Scope
from producer.networks.chosen import ChosenNetwork
from schema.database import Database
from tests.integration.api.conftest import refused
from tests.serving import client


def test_an_administrator_adds_lists_and_revokes_keys(address: str, database: Database) -> None:
    admin = keys.add(database, "admin", Scope.ADMIN).key
    with client(address, admin) as http:
        made = http.post("/v1/keys", json={"name": "night", "scope": "read", "images_per_day": 9})
        assert (made.status_code, made.headers["Cache-Control"]) == (201, "no-store")
        with client(address, made.json()["key"]) as other:
            assert other.get("/v1/me").json()["limits"]["images_per_day"] == 9
            refused(other.get("/v1/keys"), 403)
        listed = http.get("/v1/keys")
        assert [key["name"] for key in listed.json()["keys"]] == ["night", "admin"]
        assert made.json()["key"] not in listed.text
        assert "night" in refused(http.post("/v1/keys", json={"name": "night"}), 422)
        refused(http.post("/v1/keys", json={"name": "two words"}), 422)
        assert http.delete("/v1/keys/night").status_code == 204
        assert http.get("/v1/keys").json()["keys"][0]["revoked_at"] is not None
        refused(http.delete("/v1/keys/nobody"), 404)


def test_a_dry_run_is_asked_for_and_shown(http: httpx.Client, network: ChosenNetwork) -> None:
    body = {"network": "digits@1", "solver": "emulator", "images": 48, "reads": 20}
    made = http.post("/v1/dry-runs", json=body)
    assert made.status_code == 202, made.text
    shown = http.get(made.headers["Location"]).json()
    assert shown == made.json()
    assert (shown["network"], shown["solver"], shown["state"], shown["plan"]) == (
        *("digits@1", "emulator"),
        *("queued", {}),
    )
    refused(http.get("/v1/dry-runs/999"), 404)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"network": "digits@1", "solver": "local"}, 422),
        ({"network": "nothing", "solver": "emulator"}, 404),
        ({"network": "digits@1", "solver": "emulator", "reads": 0}, 422),
        ({"network": "digits@1", "solver": "emulator", "colour": "red"}, 422),
    ],
)
def test_a_dry_run_that_cannot_be_made(
    http: httpx.Client, network: ChosenNetwork, body: dict[str, object], status: int
) -> None:
    refused(http.post("/v1/dry-runs", json=body), status)
