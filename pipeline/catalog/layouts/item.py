"""What a layout finds: images with what is known of them; and files that are neither image nor mask."""

import re
from dataclasses import dataclass

# Notes that people keep beside images. Whatever else lies in a lake is an input, and ends as a row.
SIDECARS = frozenset(
    ".txt .md .rst .pdf .html .json .jsonl .csv .tsv .xml .yaml .yml .toml .ini .log .db .parquet .py".split()
)
# What Hadoop, Spark and file browsers leave; those that begin with a dot are not even listed
_LEFT = re.compile(r"(_success|_metadata|_common_metadata|(_committed|_started)_\S*|.*_\$folder\$)", re.ASCII)
_ENDS = tuple(SIDECARS)


@dataclass(frozen=True, slots=True)
class Item:
    """One image of a layout; paths are relative to the root.

    `label` is True for anomalous, None for unknown; `group` names the part that it is a view of.
    """

    path: str
    category: str
    label: bool | None = None
    masks: tuple[str, ...] = ()
    group: str | None = None


def is_note(path: str) -> bool:
    """Tell whether a file is no input: by its name alone, as a note or as what a tool left."""
    lower = path.lower()
    return lower.endswith(_ENDS) or (("_" in lower) and _LEFT.fullmatch(lower.rpartition("/")[2]) is not None)


def stem(name: str) -> str:
    """Return a name, or a path, without the ending of the file."""
    return name.rpartition(".")[0] or name
