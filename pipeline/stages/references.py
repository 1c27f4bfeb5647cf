"""The references of each category: counted before a run starts, chosen among the images that were encoded."""

from pipeline.catalog import Catalog
from pipeline.config import ScoreConfig
from pipeline.errors import ConfigError
from pipeline.lake.storage import Location
from pipeline.plan.references import choose_references, expected_references, samples
from pipeline.plan.units import Members


def read_list(config: ScoreConfig) -> set[str]:
    """Read the uris of mode list, whose lines may end as on Windows."""
    if config.references.uris is None:
        return set()
    location = Location.parse(config.references.uris)
    try:
        lines = location.read_bytes().decode().split("\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"references.uris {location} is not UTF-8 text: {error}") from error
    return {line.removesuffix("\r") for line in lines}


def expected_members(catalog: Catalog, config: ScoreConfig, listed: set[str]) -> dict[str, Members]:
    """Return the images listed in each category, of which some may drop out, as if all were encoded."""
    uris: dict[str, list[str]] = {}
    for category, uri in zip(catalog.table["category"].to_pylist(), catalog.table["uri"].to_pylist(), strict=True):
        uris.setdefault(category, []).append(uri)
    several = {name: of for name, of in uris.items() if len(of) > 1}
    if config.references.mode == "list":
        return {name: draw(name, of, config, listed)[1] for name, of in several.items()}
    settings = config.references  # how many is known without drawing them
    return {
        name: Members(len(of), expected_references(settings, len(of)), samples(settings, len(of)), "")
        for name, of in several.items()
    }


def draw(category: str, uris: list[str], config: ScoreConfig, listed: set[str]) -> tuple[list[int], Members]:
    """Choose the references of a category; raises `ConfigError` when a list names fewer than two."""
    references = choose_references(config.references, uris, listed)
    if len(references) < 2:
        raise ConfigError(
            f"category {category!r} has {len(references)} of its {len(uris)} images in {config.references.uris}; "
            "at least two references are needed"
        )
    drawn = samples(config.references, len(uris))
    return references, Members(len(uris), len(references), drawn, "")
