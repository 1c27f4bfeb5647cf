"""YAML in which a number is what reads as one: 007, 0x10, 1_2 and 2026-11-22 are names, and stay as they are."""

import re
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in of if tag.rpartition(":")[2] not in ("int", "float", "timestamp")]
        for first, of in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"[-+]?(0|[1-9][0-9]*|[1-9][0-9]{0,2}(_[0-9]{3})+)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"([-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
    ),
    list("-+.0123456789"),
)


def load_yaml(text: str) -> Any:
    """Return what a YAML text holds; raises `yaml.YAMLError`."""
    loader = _Loader(text)  # of the safe kind, which makes nothing but data
    try:
        found = loader.get_single_data()
    finally:
        loader.dispose()
    # "a:" and "{a, b}" are text that happens to be YAML
    return text if isinstance(found, dict) and found and all(value is None for value in found.values()) else found
