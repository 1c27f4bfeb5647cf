"""The libraries that models come from. Each takes seconds to import, and a run needs one: they are imported by name."""

from dataclasses import dataclass
from importlib.metadata import entry_points

from pipeline.errors import EncoderError


@dataclass(frozen=True)
class Library:
    """`module` has `load`, a `backbone.Load`; `distribution` is the package with the models, whose version counts.

    None where the models are this project's own.
    """

    module: str
    distribution: str | None = None


LIBRARIES = {
    "open_clip": Library("pipeline.encoders.open_clip", "open_clip_torch"),
    "timm": Library("pipeline.encoders.timm", "timm"),
}


GROUP = "lakescore.encoders"  # of the entry points by which packages that are installed beside this one add theirs


def split_name(name: str) -> tuple[Library, str]:
    """Return the library of an encoder.name, and the model's name in it; raises `EncoderError`."""
    library, _, model = name.partition(":")
    added = {
        of.name: Library(of.module, of.dist.name if of.dist else None) for of in entry_points(group=GROUP, name=library)
    }
    if library not in (known := added | LIBRARIES) or not model:
        raise EncoderError(
            f"encoder.name {name!r} is not understood; "
            "use open_clip:<model>/<pretrained tag> or timm:<model>[.<pretrained tag>]"
        )
    return known[library], model
