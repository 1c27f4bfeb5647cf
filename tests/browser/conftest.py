"""A real Chromium without a window, and a report that it opens from disk."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.support.ui import WebDriverWait

from tests.chromium import ABSENT, start_chromium
from tests.conftest import not_run
from tests.reports import Made, make_report


class Page:
    """What a test does with the page; waits are for conditions, not for times."""

    def __init__(self, driver: Chrome, made: Made) -> None:
        self.driver = driver
        self.made = made

    def open(self, place: str = "", waiting: str = "return LAKESCORE.ready && view() !== null") -> None:
        """Open the report anew at a place such as #images, and wait until it has read its data.

        What a tab keeps for a reload is forgotten; the address of all reports on disk is one to a browser.
        """
        if self.js("return location.host || location.protocol === 'file:'"):
            self.js("addEventListener('pagehide', () => sessionStorage.clear())")
        self.driver.get("about:blank")
        self.driver.get(self.made.address + place)
        self.wait(waiting)

    def js(self, script: str, *values: Any) -> Any:
        return self.driver.execute_script(script, *values)

    def wait(self, script: str) -> None:
        WebDriverWait(self.driver, 20, 0.02).until(lambda _: self.js(script), f"never true: {script}")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)

    def text(self, selector: str) -> str:
        return str(self.js("return document.querySelector(arguments[0]).innerText", selector))

    def choose(self, field: str, value: str) -> None:
        """Fill a field of the page as a user does: its value, then its event."""
        script = (
            "const [id, v] = arguments; byId(id).value = v; byId(id).dispatchEvent(new Event('input', {bubbles: true}))"
        )
        self.js(script, field, value)

    def complaints(self) -> list[str]:
        """Return what the console has told since it was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]  # no types


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    started = start_chromium(tmp_path_factory.mktemp("chromium"))
    if started is None:
        not_run(ABSENT)
    yield started
    started.quit()


@pytest.fixture(scope="session")
def downloads(driver: Chrome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("downloads")
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    return folder


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A report of more than one file of rows, which no test writes to."""
    return make_report(tmp_path_factory.mktemp("report"), count=2_100, drawn=24)


@pytest.fixture
def page(driver: Chrome, made: Made) -> Iterator[Page]:
    """Yield the first screen, as a browser opens it that has never seen it; the console says nothing in the end."""
    opened = Page(driver, made)
    opened.open()
    opened.js("localStorage.clear()")
    opened.open()
    yield opened
    assert opened.complaints() == []


@pytest.fixture
def emulate(driver: Chrome) -> Iterator[Callable[..., None]]:
    """Yield a function that makes the screen another one for the test, by its width, height, and colour scheme."""

    def set_(width: int = 1440, height: int = 900, scheme: str = "light") -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)

    yield set_
    set_()
