"""Categories that settings name, held to those of the lake."""

import difflib
import logging

import pyarrow.compute as pc

from pipeline.catalog.catalog import Catalog
from pipeline.config import DecisionConfig
from pipeline.errors import ConfigError

log = logging.getLogger(__name__)


def check_categories(decision: DecisionConfig, catalog: Catalog) -> None:
    """Hold the categories that have thresholds of their own to those of the lake.

    One that the lake does not have costs a warning: its line may stand still today. Raises `ConfigError` for one that
    is written nearly as another, which is not named itself.
    """
    known = set(pc.unique(catalog.table["category"]).to_pylist())
    for name, rule in (("image", decision.image), ("pixel", decision.pixel)):
        for category in sorted(set(rule.categories) - known):
            where = f"decision.{name}.categories names {category!r}, which the lake does not have"
            near = difflib.get_close_matches(category, sorted(known - set(rule.categories)), n=1)
            if near:
                raise ConfigError(f"{where}; did you mean {near[0]!r}?")
            log.warning("settings %s", where)
