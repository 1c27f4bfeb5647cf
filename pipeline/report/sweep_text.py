"""What sweeping the feature store found, as a table."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime

from pipeline.report.terminal import aligned, ruled
from pipeline.screen import printable
from pipeline.store.garbage import Sweep


def sweep_json(found: Sequence[Sweep], unfinished: int, begun: Mapping[str, float], dropped: bool) -> str:
    """Return the same as `sweep_text` as one JSON object, in ASCII, with times in seconds since 1970."""
    features = [asdict(of) for of in found]
    return json.dumps({"dropped": dropped, "features": features, "unfinished": unfinished, "begun": begun}, indent=2)


def sweep_text(found: Sequence[Sweep], unfinished: int, begun: Mapping[str, float], dropped: bool) -> str:
    """Return what stays and what goes for each fingerprint, and why files that no run uses stay.

    Args:
        found: what was swept.
        unfinished: files that killed processes were writing.
        begun: runs that are not published, and since when.
        dropped: whether the garbage is gone, or was only looked for.
    """
    gone = "dropped" if dropped else "to drop"
    lines = [["fingerprint", *(f"{name} {fate}" for fate in ("kept", gone) for name in ("files", "images", "MB"))]]
    for of in found:
        tallies = [[str(side.files), str(side.images), f"{side.bytes / 1e6:.1f}"] for side in (of.kept, of.garbage)]
        lines.append([of.fingerprint, *tallies[0], *tallies[1]])
    spare, young, damaged = (sum(getattr(of, name) for of in found) for name in ("spare", "young", "damaged"))
    notes = []
    if spare:
        notes.append(f"images that no run uses, kept with others of their file: {spare}")
    if young:
        notes.append(f"files that no run uses, kept as a run that is not published may (see --hours): {young}")
    if damaged:
        notes.append(f"damaged files: {damaged}")
    if unfinished:
        notes.append(f"files that killed processes were writing, {gone}: {unfinished}")
    for run_id, since in begun.items():
        when = f"{datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M:%S} UTC"
        notes.append(f"run {printable(run_id)} is not published; what was written since it began, {when}, is kept")
    if begun:
        notes.append("a run that needs older features may fail; started again, it encodes them anew")
    notes.append("dropped" if dropped else "a dry run: nothing was dropped; --apply drops")
    return "\n".join([*ruled(aligned(lines)), *notes])
