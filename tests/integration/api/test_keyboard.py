"""The pages by keyboard alone, in a browser: what a mouse does, and where the focus is meanwhile."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from producer.api.keys import keys
from producer.networks.chosen import ChosenNetwork
from producer.runs import queries
from producer.runs.enqueue import RunOptions, enqueue_run
from schema.database import Database
from schema.messages import Message, Task
from schema.parameters import Parameters, Solver
from schema.states import RunState
from schema.tables import Run
from tests import PATIENCE_S
from tests.browsers import opened_browser
from tests.integration.api.conftest import npz
from tests.integration.conftest import some_images, work_off
from worker.context import Context

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

pytestmark = pytest.mark.slow

_MOST_TABS = 90
# The focused element, if it can be seen: with an outline, and inside of the window.
_FOCUS = """
const e = document.activeElement, style = getComputedStyle(e), box = e.getBoundingClientRect();
return {
  tag: e.tagName.toLowerCase(), id: e.id, name: e.getAttribute("name") ?? "",
  text: (e.getAttribute("aria-label") ?? e.innerText ?? "").trim(),
  seen: e.matches(":focus-visible") && style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2
    && box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
};
"""


@pytest.fixture
def database_url(_sqlite_template: Path, tmp_path: Path) -> str:
    """One database: what a browser shows is the same with each."""
    return f"sqlite:///{shutil.copy(_sqlite_template, tmp_path / 'annealq.db')}"


class Keyboard:
    """Keys that are pressed in a browser, and nothing else."""

    def __init__(self, browser: Chrome) -> None:
        from selenium.webdriver import Keys

        self.browser, self.keys = browser, Keys

    def press(self, *texts: str) -> None:
        from selenium.webdriver import ActionChains

        ActionChains(self.browser, duration=0).send_keys(*texts).perform()

    def focus(self) -> dict[str, Any]:
        found: dict[str, Any] = self.browser.execute_script(_FOCUS)
        return found

    def tab_to(self, **wanted: str) -> None:
        """Press Tab until an element with these values has the focus; it is visible at each step."""
        passed = []
        for _ in range(_MOST_TABS):
            self.press(self.keys.TAB)
            focus = self.focus()
            passed.append(focus["text"] or focus["name"])
            if focus["tag"] != "body":
                assert focus["seen"], f"the focus is not visible: {focus}"
            if all(focus[name] == value for name, value in wanted.items()):
                return
        pytest.fail(f"Tab does not reach {wanted}: {passed}")

    def enter(self, heading: str) -> None:
        """Press Enter, and wait for the page with this heading."""
        self.press(self.keys.ENTER)
        self.wait(lambda: self.heading().startswith(heading), heading)

    def go(self, heading: str, **wanted: str) -> None:
        """Follow the link or button with these values to the page with this heading."""
        self.tab_to(**wanted)
        self.enter(heading)

    def heading(self) -> str:
        return str(self.browser.execute_script("return document.querySelector('h1')?.innerText ?? ''"))

    def text(self) -> str:
        return str(self.browser.execute_script("return document.body.innerText"))

    def wait(self, happened: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not happened():
            assert time.monotonic() < deadline, f"waited in vain for {what!r} at {self.browser.current_url}"
            time.sleep(0.02)


@pytest.fixture
def keyboard(tmp_path: Path) -> Iterator[Keyboard]:
    with opened_browser(tmp_path) as browser:
        yield Keyboard(browser)


def name_run(database: Database, run: int, name: str) -> None:
    with database.transaction() as session:
        session.execute(update(Run).where(Run.id == run).values(name=name))


def test_all_is_done_by_keyboard_alone(
    address: str,
    keyboard: Keyboard,
    database: Database,
    context: Context,
    working: ChosenNetwork,
    tmp_path: Path,
) -> None:
    key = keys.add(database, "me", keys.Scope.ADMIN).key

    def enqueue(seed: int) -> int:
        images = some_images(25, seed=seed)
        return enqueue_run(database, images, working, Solver.LOCAL, Parameters(reads=5), RunOptions()).id

    done = enqueue(0)
    name_run(database, done, "the lost one")
    work_off(context, Message(Task.DISPATCH))
    live = enqueue(1)
    images = tmp_path / "some.npz"
    images.write_bytes(npz(4))
    at = keyboard

    at.browser.get(address)
    assert at.focus()["id"] == "key", "one can write at once"
    at.press("wrong")
    at.enter("Log in")
    at.press(key)
    at.enter("Runs")

    # The skip link is the first one, and leads past the menu.
    at.tab_to(text="Skip to the content")
    at.press(at.keys.ENTER)
    at.wait(lambda: at.focus()["id"] == "main", "the focus in the content")
    at.press(at.keys.TAB)
    assert at.browser.execute_script("return document.activeElement.closest('main') !== null")

    # From the list of runs, the wrong images are two links away.
    at.tab_to(name="name")
    at.press("lost")
    at.enter("Runs")
    at.wait(lambda: "the lost one" in at.text() and at.text().count("random") == 0, "the filtered list")
    at.go(f"Run {done}", text="the lost one")
    with database.reading() as session:
        counts = queries.counts(session, done)
    wrong = counts.labelled - counts.correct
    assert wrong > 1
    at.go("Images of run", text=f"{wrong} wrong images")
    cards = at.browser.execute_script(
        "return [...document.querySelectorAll('.images li')].map(e => e.innerText)"
    )
    assert len(cards) == wrong
    assert all("✗" in card or "undecided" in card for card in cards)
    first = cards[0].split("\n")[0]
    at.go(first.capitalize(), text=first)
    at.go("Images of run", text="its images")

    # A live page is updated under the focus, which stays; a question that is denied gives it back.
    at.go("Runs", text="Runs")
    at.go(f"Run {live}", text=str(live))
    at.tab_to(text="Cancel")
    name_run(database, live, "renamed meanwhile")
    at.wait(lambda: "renamed meanwhile" in at.heading(), "the updated page")
    assert (at.focus()["text"], at.focus()["seen"]) == ("Cancel", True)
    at.enter(f"Cancel run {live}?")
    at.press(at.keys.ESCAPE)
    at.go(f"Run {live}", text="No, back to the run")
    at.wait(lambda: at.focus()["id"] == "act-cancel", "the focus where it was")
    at.enter(f"Cancel run {live}?")
    at.go(f"Run {live}", text="Yes, cancel")
    at.wait(lambda: f"run {live} is cancelled" in at.text(), "the message")
    with database.reading() as session:
        assert queries.run(session, live).state is RunState.CANCELLED

    # An error takes the focus, and leads to its field.
    at.go("Change run", text="Change")
    at.tab_to(name="name")
    at.press(" ")
    at.browser.execute_script("document.activeElement.value = ' '")
    at.enter("Change run")
    at.wait(lambda: "Correct this" in at.focus()["text"], "the focus on the error")
    at.tab_to(text="Name")
    at.press(at.keys.ENTER)
    at.wait(lambda: at.focus()["id"] == "f-name", "the focus on the field")

    at.go("Submit images", text="Submit")
    at.tab_to(id="images")
    at.browser.switch_to.active_element.send_keys(str(images))  # a dialog of the system, not of the page
    at.tab_to(text="More options")
    at.press(at.keys.SPACE)
    at.tab_to(name="priority")
    at.press("3")
    at.go("Run ", text="Submit", tag="button")
    assert "is enqueued" in at.text()
    assert "Priority 3" in at.text()

    at.go("Keys", text="Keys")
    at.tab_to(id="f-name")
    at.press("night")
    at.tab_to(id="f-all_runs")
    at.press(at.keys.SPACE)
    at.go("A key of night was added", text="Add")
    at.tab_to(id="secret-1")
    made = at.focus()["text"]
    with database.reading() as session:
        caller = keys.identify(session, made, database.now(session))
    assert caller is not None
    assert (caller.name, caller.all_runs) == ("night", True)
    at.go("Log in", text="Log out")
