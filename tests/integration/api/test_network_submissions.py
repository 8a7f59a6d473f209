"""Networks that are trained or imported over HTTP."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from producer.api.keys import keys
from producer.api.keys.keys import Scope
from schema.database import Database
from schema.network.architecture import preset
from tests.integration.api.conftest import npz, refused
from tests.integration.conftest import working_network
from tests.serving import client
from worker.context import Context
from worker.pipeline.train import train_network

WEIGHTS = working_network()["weights"]


def add(http: httpx.Client, data: dict[str, Any], **files: bytes) -> httpx.Response:
    sent: dict[str, Any] = {name: (None, value) for name, value in data.items()}
    for name, content in files.items():
        sent[name] = ("some.npz" if name == "images" else f"sent-{name}.bin", content)
    return http.post("/v1/networks", files=sent)


def test_a_network_is_trained_once(http: httpx.Client, context: Context) -> None:
    asked = {"architecture": "digits", "name": "mine", "epochs": "1", "seed": "3", "limit": "20"}
    queued = add(http, asked, images=npz(30))
    assert queued.status_code == 202, queued.text
    assert queued.headers["Location"] == "/v1/networks/mine@1"
    shown = queued.json()
    assert (shown["state"], shown["origin"], shown["training"]) == (
        *("queued", "trained"),
        {"transfer": "energy", "seed": 3, "epochs": 1},
    )
    train_network(context, shown["network_id"])
    trained = http.get(queued.headers["Location"]).json()
    assert (trained["state"], trained["name"], trained["version"]) == ("ready", "mine", 1)
    again = add(http, asked, images=npz(30))
    assert (again.status_code, again.json()) == (200, trained | {"notes": []})


def test_without_an_architecture_layers_are_made_for_the_images(http: httpx.Client) -> None:
    queued = add(http, {"name": "own"}, images=npz(30))
    assert queued.status_code == 202, queued.text
    assert (queued.json()["name"], queued.json()["shape"], queued.json()["dtype"]) == ("own", "8x8", "uint8")


def test_weights_are_imported_once(http: httpx.Client) -> None:
    layers = json.dumps(preset("digits").to_dict())
    asked = {"architecture": layers, "name": "theirs", "classes": "a,b,c,d,e,f,g,h,i,j"}
    imported = add(http, asked, weights=WEIGHTS)
    assert imported.status_code == 201, imported.text
    assert imported.headers["Location"] == "/v1/networks/theirs@1"
    shown = imported.json()
    assert (shown["state"], shown["origin"], shown["classes"]) == ("ready", "imported", list("abcdefghij"))
    assert shown == http.get("/v1/networks/theirs@1").json() | {"notes": []}
    again = add(http, asked, weights=WEIGHTS)
    assert (again.status_code, again.json()) == (200, shown)


@pytest.mark.parametrize(
    ("data", "files", "named"),
    [
        ({}, {"weights": WEIGHTS}, "architecture"),
        ({"architecture": "digits"}, {"weights": b"\x80\x04pickled"}, "sent-weights.bin"),
        ({"architecture": "digits"}, {"weights": WEIGHTS[:-8]}, "sent-weights.bin"),
        ({"architecture": "mnist"}, {"weights": WEIGHTS}, "sent-weights.bin"),
        ({"architecture": "digits", "epochs": "1"}, {"weights": WEIGHTS}, "epochs"),
        ({"architecture": "digits", "classes": "a,b"}, {"weights": WEIGHTS}, "2 classes"),
        ({"architecture": "digits"}, {"weights": WEIGHTS, "images": npz(10)}, "either"),
        ({"architecture": "digits"}, {}, "either"),
        ({"architecture": "nothing"}, {"images": npz(10)}, "nothing"),
        ({"architecture": "{"}, {"images": npz(10)}, "JSON"),
        ({"architecture": "{" + '"a":[' * 5_000}, {"images": npz(10)}, "JSON"),
        ({"architecture": "{}"}, {"images": npz(10)}, "name"),
        ({"architecture": "mnist"}, {"images": npz(10)}, "28 x 28"),
        ({"name": "mine@2"}, {"images": npz(30)}, "mine@2"),
        ({"seed": "-1"}, {"images": npz(10)}, "seed"),
        ({"transfer": "magic"}, {"images": npz(10)}, "transfer"),
        ({"colour": "red"}, {"images": npz(10)}, "colour"),
        ({"resize": "huge"}, {"images": npz(10)}, "huge"),
        ({"classes": "a,b"}, {"images": npz(10)}, "classes"),
        ({}, {"images": b"no file of numbers"}, "some.npz"),
        ({}, {"pickle": b""}, "pickle"),
    ],
)
def test_a_network_that_cannot_be_added(
    shared_http: httpx.Client, data: dict[str, str], files: dict[str, bytes], named: str
) -> None:
    assert named in refused(add(shared_http, data, **files), 422)
    assert shared_http.get("/v1/networks").json()["networks"] == []


def test_only_administrators_add_networks(address: str, http: httpx.Client, database: Database) -> None:
    with client(address, keys.add(database, "submitter", Scope.SUBMIT).key) as submitter:
        refused(add(submitter, {"architecture": "digits"}, weights=WEIGHTS), 403)
    refused(add(http, {"uri": "/etc/passwd"}), 403)
    refused(http.post("/v1/networks", json={"architecture": "digits"}), 415)
