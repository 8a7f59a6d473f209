"""Opens the dashboard of a real run in a browser: it refreshes automatically, shows an image, and cancels."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.acceptance.conftest import running_stack, show, wait_for
from tests.browsers import opened_browser
from tests.conftest import ROOT, annealq_process

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    with opened_browser(tmp_path) as opened:
        yield opened


@contextmanager
def served(home: Path) -> Iterator[str]:
    """`annealq serve` on a home; yields the link that it prints."""
    with (home / "serve.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "producer.cli", "serve", "--port", "0"],
            cwd=ROOT,
            stderr=log,
            env=os.environ.copy(),
        )
    text = (home / "serve.log").read_text
    wait_for(lambda: " in a browser" in text(), "the API", 60)
    yield text().split("open ")[1].split(" in a browser")[0]
    process.send_signal(signal.SIGINT)
    process.wait(20)


def test_a_run_is_watched_and_cancelled(browser: Chrome, home: Path, digits_file: str) -> None:
    def ask(script: str) -> Any:
        # In one step: between two, the page may have put in something newer.
        return browser.execute_script(f"return {script}")

    def scored() -> int:
        return int(ask("document.querySelector('main .progress')?.getAttribute('aria-valuenow') ?? -1"))

    with running_stack(home), served(home) as address:
        sent = annealq_process(
            *("classify", digits_file, "--reads", "400", "--sweeps", "400", "--batch-size", "20"),
            *("--detach", "--json"),
        )
        run = int(json.loads(sent.stdout)["run_id"])
        browser.get(address)
        ask(f"document.querySelector('main a[href$=\"/runs/{run}\"]').click()")
        wait_for(lambda: scored() > 0, "the first images", 120)
        first = scored()
        ask("window.kept = true")
        ask("getSelection().selectAllChildren(document.querySelector('#part-head .soft'))")
        ask("document.querySelector('a.wrong').focus()")
        chosen = ask("getSelection().toString()")
        wait_for(lambda: scored() > first, "the page to move by itself", 60)
        assert ask("window.kept"), "the page was loaded anew"
        assert (ask("getSelection().toString()"), ask("document.activeElement.textContent")) == (
            chosen,
            "Cancel",
        )
        assert str(ask("document.title")).startswith("running ")
        ask("document.querySelector('.images a').click()")
        wait_for(lambda: "of its reads" in str(ask("document.body.innerText")), "the image's page")
        wait_for(lambda: ask("!!document.querySelector('#energies')"), "the energies, or why there are none")
        image = str(ask("location.href"))
        browser.get(f"{address.partition('/?')[0]}/runs/{run}")
        ask("document.querySelector('a.wrong').click()")
        wait_for(lambda: f"Cancel run {run}?" in str(ask("document.body.innerText")), "the question")
        ask("document.querySelector('main button.wrong').click()")
        wait_for(lambda: f"run {run} is cancelled" in str(ask("document.body.innerText")), "the word")
        wait_for(lambda: show(run)["state"] == "cancelled", "the run's end")
        wait_for(lambda: ask("!document.querySelector('#poll[hx-get]')"), "the page to ask no more")
        browser.get(image)  # workers have time for it now
        drawn = "document.querySelector('img.energies')?.naturalWidth ?? 0"
        wait_for(lambda: ask(drawn) > 0, "the energies", 60)
        errors = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
        assert not errors, errors
