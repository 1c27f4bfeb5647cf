"""One line for each stage: how far, how fast, how long still."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Self

from pipeline.log import context, is_watched

Show = Callable[[str, int, int], None]

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES, SECONDS_BETWEEN_FRAMES = 10.0, 0.25
SECONDS_WITHOUT_LINE = 30.0  # at most: whoever sees none takes a run that waits for a dead one
SECONDS_BETWEEN_GAUGES = 5.0  # Ray forgets one that was not set for 20 s, and a unit may take minutes


class Progress:
    """Counts what a stage has done, as a bar where somebody looks or log lines elsewhere.

    with Progress("extract", "images", 120) as progress:
        progress.add(32)

    `show` is given stage, done and total now and then, and once more at the end. `at_work` says who works, for lines
    that come while nothing is done.
    """

    def __init__(
        self,
        stage: str,
        what: str,
        total: int,
        already: int = 0,
        show: Show | None = None,
        at_work: Callable[[], str] | None = None,
    ) -> None:
        self.stage, self._what, self._total, self._show_elsewhere, self._at_work = stage, what, total, show, at_work
        self._already = self._done = already  # done by an earlier run: counted, but not into the rate
        self._start = self._shown = time.monotonic()
        self._showing = ExitStack()

    def __enter__(self) -> Self:
        context["stage"] = self.stage
        if self._show_elsewhere:
            self._showing.enter_context(_again_and_again(self._show, SECONDS_BETWEEN_GAUGES))
        if self._total:
            waiting = _again_and_again(self._say_that_it_goes_on, SECONDS_WITHOUT_LINE / 10)
            self._showing.enter_context(self._drawn() if is_watched() else waiting)
        return self

    def add(self, count: int) -> None:
        """Count more of them as done."""
        self._done += count
        now = time.monotonic()
        if not is_watched() and now - self._shown >= SECONDS_BETWEEN_LINES and self._done < self._total:
            self._shown = now
            log.info(self._line(now))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._showing.close()
        self._show()
        now = time.monotonic()
        if kind is None and self._total:
            facts = {"done": self._done, "total": self._total, "seconds": round(now - self._start, 3)}
            log.info(self._line(now), extra=facts)
        context.pop("stage", None)

    def _say_that_it_goes_on(self) -> None:
        now = time.monotonic()
        if now - self._shown >= SECONDS_WITHOUT_LINE and self._done < self._total:
            self._shown = now
            log.info("%s  %s", self._line(now), self._at_work() if self._at_work else "at work")

    def _show(self) -> None:
        if self._show_elsewhere:
            self._show_elsewhere(self.stage, self._done, self._total)

    def _line(self, now: float) -> str:
        seconds = max(now - self._start, 1e-9)
        rate = (self._done - self._already) / seconds
        each_second = "" if not rate else f"{rate:,.0f}/s" if rate >= 100 else f"{rate:.3g}/s"
        line = f"{self.stage:8} {f'{self._done}/{self._total} {self._what}':18}  {each_second:>8}  {_time(seconds):>6}"
        if rate and self._done < self._total:
            line += f"  {_time((self._total - self._done) / rate)} left"
        return line

    @contextmanager
    def _drawn(self) -> Iterator[None]:
        """Keep a bar as the last line of the terminal, that moves on also while nothing is done for long."""
        from tqdm import tqdm  # where nobody looks, nobody waits for it
        from tqdm.contrib.logging import logging_redirect_tqdm

        bar = tqdm(
            total=self._total, initial=self._done, bar_format="{desc}|{bar:16}|", dynamic_ncols=True, leave=False
        )

        def draw() -> None:
            bar.n = self._done
            bar.set_description_str(f"{self._line(time.monotonic()):60}")

        with bar, logging_redirect_tqdm(), _again_and_again(draw, SECONDS_BETWEEN_FRAMES):  # log lines appear above it
            yield


@contextmanager
def _again_and_again(show: Callable[[], None], seconds: float) -> Iterator[None]:
    """Call a function in a thread, at once and each so many seconds, until the block ends."""
    ended = threading.Event()

    def repeat() -> None:
        show()
        while not ended.wait(seconds):
            show()

    showing = threading.Thread(target=repeat, daemon=True)
    showing.start()
    try:
        yield
    finally:
        ended.set()
        showing.join()


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 99.5 else f"{minutes} min" if minutes < 100 else f"{minutes / 60:.1f} h"
