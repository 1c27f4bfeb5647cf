"""How the images of a category are seen, by the settings and the size that they usually have."""

from collections.abc import Mapping
from dataclasses import replace

from pipeline.config import ScoreConfig
from pipeline.errors import ConfigError
from pipeline.geometry import Geometry, area_sides, tile_scale


def geometries_of(
    config: ScoreConfig, usual: Geometry, sizes: Mapping[str, tuple[int, int] | None]
) -> dict[str, Geometry]:
    """Return how images of categories are seen, by their usual (width, height); raises as `geometry_of` does.

    Where `usual` squeezes every image, a category that it does for is left out: its features are those of before.
    """
    found = {category: geometry_of(config, usual, size) for category, size in sizes.items()}
    return {category: of for category, of in found.items() if of != usual or usual.sides is None}


def geometry_of(config: ScoreConfig, usual: Geometry, size: tuple[int, int] | None) -> Geometry:
    """Return how images of a category are seen.

    Raises `ConfigError` where tiles do not fit the patches.

    Args:
        config: settings.
        usual: the geometry of who has no other one.
        size: usual (width, height) of the category's images; None where no file could be read.
    """
    area, patch = config.encoder.area, usual.patch
    whole = Geometry(patch, area_sides(size or (1, 1), area**2, patch)) if area else usual
    scale = _scale(config, whole, size)
    if scale is None:
        return whole
    tile = config.tiles.size or min(config.encoder.sides) // patch * patch
    if tile % patch or tile // patch <= -(-config.tiles.overlap // patch):  # both in whole patches
        raise ConfigError(
            f"tiles.size {tile} must be a multiple of the encoder's patch, {patch}, and more than tiles.overlap "
            f"{config.tiles.overlap}"
        )
    return replace(usual, sides=None, short=0, scale=scale, tile=tile, overlap=config.tiles.overlap)


def _scale(config: ScoreConfig, whole: Geometry, size: tuple[int, int] | None) -> float | None:
    """Return the scale of tiles; None where there are none."""
    scale = config.tiles.scale
    if scale == "none":
        return None
    if scale != "auto":
        return scale
    defect = config.input.smallest_defect
    if defect is None or size is None:
        return None
    try:
        return tile_scale(size, whole.on(size), whole.patch, defect)
    except ValueError:  # so long that none is seen, in tiles or not
        return None
