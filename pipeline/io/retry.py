"""Requests to a store that are made again: what passes by itself is waited for, with waits that grow and differ.

PATIENCE is how long. So a fleet does not come back all at once, and an outage of a minute ends no run.
"""

import logging
import re
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from pipeline.io import traffic

T = TypeVar("T")

PATIENCE = 120.0  # seconds: longer than a store's restart, shorter than anybody's night
LONGEST_WAIT = 10.0

log = logging.getLogger(__name__)


def ask(request: Callable[[], T], passing: Callable[[BaseException], str | None], say: Callable[[object], str]) -> T:
    """Make a request until it is answered, for PATIENCE seconds; raises its last error.

    Args:
        request: what is asked.
        passing: the name under which an error is counted that may pass by itself, None of any other.
        say: what an error says, without secrets.
    """

    def count(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        traffic.retried((error and passing(error)) or type(error).__name__)
        if state.attempt_number == 5:  # a second or two in: worth a line, and not before
            log.warning("the store does not answer (%s), trying for %.0f s more", say(error), PATIENCE)

    retrying = Retrying(
        retry=retry_if_exception(lambda error: passing(error) is not None),
        wait=wait_random_exponential(multiplier=0.2, max=LONGEST_WAIT),
        stop=stop_after_delay(PATIENCE),
        before_sleep=count,
        reraise=True,
    )
    return retrying(request)


def without_secrets(text: str) -> str:
    """Return what an error says without what an address in it may carry: a password, or a signature behind its path."""
    return re.sub(r"\?\S*=\S*", "?...", re.sub(r"//[^/\s]*@", "//...@", text))
