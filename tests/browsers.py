"""A headless Chromium for tests of pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome


@contextmanager
def opened_browser(folder: Path) -> Iterator[Chrome]:
    """Open a browser that asks nothing of the network; its profile is in ``folder``. Skip without one."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no chromium and chromedriver on this machine")
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = binary
    quiet = ("background-networking", "component-update", "sync", "gpu", "quic")
    for flag in ("headless", "no-sandbox", "no-first-run", *(f"disable-{name}" for name in quiet)):
        options.add_argument(f"--{flag}")
    options.add_argument(f"--user-data-dir={folder / 'browser'}")
    options.add_argument("--window-size=1200,900")
    browser = Chrome(options, ChromeService(driver, env={**os.environ, "SE_AVOID_STATS": "true"}))
    try:
        yield browser
    finally:
        browser.quit()
