"""A browser on the pages of a real run: it moves by itself, shows an image, and cancels."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.acceptance.conftest import running_stack, show, wait_for
from tests.conftest import ROOT, annealq

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow


@pytest.fixture
def browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Chrome]:
    """Headless, with nothing that it would ask of the network by itself."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no chromium and chromedriver on this machine")
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    monkeypatch.setenv("SE_AVOID_STATS", "true")
    options = ChromeOptions()
    options.binary_location = binary
    quiet = ("background-networking", "component-update", "sync", "gpu", "quic")
    for flag in ("headless", "no-sandbox", "no-first-run", *(f"disable-{name}" for name in quiet)):
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={tmp_path / 'browser'}")
    options.add_argument("--window-size=1200,900")
    opened = Chrome(options, ChromeService(driver))
    yield opened
    opened.quit()


@contextmanager
def served(home: Path) -> Iterator[str]:
    """`annealq serve` on a home; yields its address."""
    with (home / "serve.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "producer.cli", "serve", "--port", "0"],
            cwd=ROOT,
            stderr=log,
            env=os.environ.copy(),
        )
    text = (home / "serve.log").read_text
    wait_for(lambda: "serves at" in text(), "the API", 60)
    yield text().split("serves at ")[1].split(";")[0]
    process.send_signal(signal.SIGINT)
    process.wait(20)


def test_a_run_is_watched_and_cancelled(browser: Chrome, home: Path, digits_file: str) -> None:
    from selenium.webdriver.common.by import By

    def text() -> str:
        return browser.find_element(By.TAG_NAME, "body").text

    def scored() -> int:
        bars = browser.find_elements(By.CSS_SELECTOR, "main .progress")
        return int(bars[0].get_attribute("aria-valuenow") or 0) if bars else -1

    with running_stack(home), served(home) as address:
        sent = annealq(
            *("classify", digits_file, "--reads", "400", "--sweeps", "400", "--batch-size", "20"),
            *("--detach", "--json"),
        )
        run = int(json.loads(sent.stdout)["run_id"])
        browser.get(address)
        browser.find_element(By.LINK_TEXT, str(run)).click()
        wait_for(lambda: scored() > 0, "the first images", 120)
        first = scored()
        wait_for(lambda: scored() > first, "the page to move by itself", 60)
        picture = browser.find_element(By.CSS_SELECTOR, ".images a")
        browser.execute_script("arguments[0].focus()", picture)  # the page holds still under the keyboard
        picture.click()
        wait_for(lambda: "Consensus class scores".lower() in text().lower(), "the image's page")
        energies = browser.find_element(By.CSS_SELECTOR, "img.energies")
        wait_for(
            lambda: browser.execute_script("return arguments[0].naturalWidth", energies) > 0, "the energies"
        )
        browser.back()
        browser.find_element(By.XPATH, "//button[text()='Cancel']").click()
        wait_for(lambda: f"run {run} is cancelled" in text(), "the cancellation")
        wait_for(lambda: show(run)["state"] == "cancelled", "the run's end")
        errors = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
        assert not errors, errors
