"""A real Chromium without a window, for tests and benches of the page."""

import shutil
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

ABSENT = "chromium and chromedriver are absent (Debian's packages chromium, chromium-driver)"
QUIET = (  # no window, no start page, and nothing asked of any network
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"),
    *("--disable-component-update", "--disable-sync", "--window-size=1440,900"),
)


def start_chromium(home: Path) -> Chrome | None:
    """Start Debian's Chromium with a profile of its own, or return None where it is absent."""
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        return None
    options = ChromeOptions()
    options.binary_location = chromium
    for argument in (*QUIET, f"--user-data-dir={home}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return Chrome(options=options, service=Service(chromedriver))
