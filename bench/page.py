"""The report of 10,000 images in a real browser, from disk: how soon it is there, and how it scrolls.

python -m bench.page
"""

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from selenium.webdriver import Chrome

from bench.report import NotRun, Report, start
from tests.chromium import ABSENT, start_chromium
from tests.reports import make_report

FIRST_AIM, FRAME_AIM = 2.0, 1000 / 30  # seconds; milliseconds of the slowest twentieth of frames
PIXELS = 120  # that are scrolled in a frame: two lines of tiles in four frames


@dataclass(frozen=True)
class Sizes:
    """Images of the report, of them drawn; how often it is opened, and for how many frames scrolled."""

    images: int
    drawn: int
    rounds: int
    frames: int


FULL = Sizes(images=10_000, drawn=1_000, rounds=5, frames=300)
TOY = Sizes(images=80, drawn=4, rounds=1, frames=10)

OPENED = """
const told = arguments[0];
const paint = performance.getEntriesByName("first-contentful-paint")[0];
const wait = () => LAKESCORE.ready && paint ? told([paint.startTime, performance.now()]) : setTimeout(wait, 5);
wait();
"""
SCROLLED = """
const [steps, pixels, told] = arguments;
const times = [];
const next = (now) => {
  times.push(now);
  if (times.length > steps) return told(times);
  scrollBy(0, pixels);
  requestAnimationFrame(next);
};
requestAnimationFrame(next);
"""


def opened(driver: Chrome, address: str) -> tuple[float, float]:
    """Open the page anew; return the seconds to its first paint, and until all images are known."""
    driver.get("about:blank")
    driver.get(address)
    found: list[float] = driver.execute_async_script(OPENED)
    return found[0] / 1000, found[1] / 1000


def frames(driver: Chrome, address: str, count: int) -> list[float]:
    """Return the milliseconds between frames while the list is scrolled."""
    opened(driver, address)
    times: list[float] = driver.execute_async_script(SCROLLED, count, PIXELS)
    return [after - before for before, after in zip(times[:-1], times[1:], strict=True)]


def main(report: Report, sizes: Sizes) -> None:
    report.title(f"A report of {sizes.images:,} images, {sizes.drawn:,} of them with pictures, in Chromium")
    with tempfile.TemporaryDirectory() as folder:
        made = make_report(Path(folder) / "report", sizes.images, sizes.drawn)
        files = [path for path in made.folder.rglob("*") if path.is_file()]
        data = sum(path.stat().st_size for path in files if path.suffix == ".js" and path.parent.name in ("data", "js"))
        driver = start_chromium(Path(folder) / "home")
        if driver is None:
            raise NotRun(ABSENT)
        try:
            driver.set_script_timeout(60)
            opened(driver, made.address)  # the browser's own start
            times = [opened(driver, made.address) for _ in range(sizes.rounds)]
            moving = frames(driver, f"{made.address}#images", sizes.frames)
            nodes: Any = driver.execute_script("return document.querySelectorAll('*').length")
        finally:
            driver.quit()
    first, all_known = (statistics.median(column) for column in zip(*times, strict=True))
    slow = statistics.quantiles(moving, n=20)[-1]
    report.table("Opened", ["round", "first paint s", "all images known s"], [[n, *of] for n, of in enumerate(times)])
    report.figure("first paint", first, FIRST_AIM, " s", most=True)
    report.figure("all images known", all_known, FIRST_AIM, " s", most=True)
    report.figure("frame while scrolling, median", statistics.median(moving), unit=" ms")
    report.figure("frame while scrolling, 95 of 100 below", slow, FRAME_AIM, " ms", most=True)
    report.figure("nodes of the document after scrolling", nodes)
    report.figure("scripts and rows of the page", data / 1e6, unit=" MB")

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(moving)
        axes.set(
            xlabel="frame", ylabel="ms since the one before", title="Scrolling through the worst images", ylim=(0, None)
        )

    report.save(draw)


if __name__ == "__main__":
    start(main, FULL, TOY)
