"""Why an image has no score."""

from enum import StrEnum


class Reason(StrEnum):
    """Why an image has no score. The list is fixed: dashboards count by it."""

    FORBIDDEN = "forbidden"
    UNREADABLE = "unreadable"
    CHANGED = "changed"
    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    DAMAGED = "damaged"
    TOO_LARGE = "too_large"
    TOO_SMALL = "too_small"
    SEVERAL_FRAMES = "several_frames"
    UNSUPPORTED_MODE = "unsupported_mode"
    CRASHED = "crashed"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    NOT_FINITE = "not_finite"
    ALONE = "alone"


class Quarantine(Exception):
    """An image that cannot be scored: the reason for counting, and a detail for the person who looks."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def unsupported(detail: str) -> Quarantine:
    """Return why an image is quarantined whose values cannot be scored as they are."""
    return Quarantine(Reason.UNSUPPORTED_MODE, detail)


def say(error: Exception) -> str:
    """Return what a library said went wrong, in one short line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
