"""Settings and figures as plain values, for JSON and for tables."""

import math
from collections.abc import Iterator, Mapping


def flat(tree: Mapping[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    """Yield settings as pairs of a dotted name and a value."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{above}{name}.")
        else:
            yield above + name, value


def finite(value: object) -> object:
    """Return a value without numbers that JSON does not have: null stands for them."""
    if isinstance(value, Mapping):
        return {name: finite(of) for name, of in value.items()}
    if isinstance(value, list | tuple):
        return [finite(of) for of in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
