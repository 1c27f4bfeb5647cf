"""Every setting of a run, in one frozen tree that a YAML file and the command line fill alike.

Nothing heavy is imported here, so that `--help` answers at once.
"""

import logging
import re
import unicodedata
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

Layout = Literal["auto", "mvtec", "visa", "btad", "loco", "mvtec_ad_2", "real_iad", "flat", "folder", "manifest"]
Precision = Literal["fp32", "fp16", "bf16"]

log = logging.getLogger(__name__)


def _as_text(given: Any) -> Any:
    """Take a whole number for the text that it was written as: 20261122 is a fine name."""
    return str(given) if isinstance(given, int) and not isinstance(given, bool) else given


def _split(given: Any) -> Any:
    """Take 5,11 for [5, 11]."""
    return given.strip("()[]").split(",") if isinstance(given, str) and "," in given else given


def _listed(given: Any) -> Any:
    """Take 5,11 for [5, 11], and 5 for [5]."""
    given = _split(given)
    return (given,) if isinstance(given, int) or (isinstance(given, str) and given.isdecimal()) else given


def _address(written: str | None) -> str | None:
    """Refuse a variable of a shell: only the shell knows what it stands for."""
    if written is not None and (found := re.search(r"\$\{\w+\}|(?:(?<=/)|^)\$[A-Za-z_]\w*", written)):
        raise ValueError(f"variables such as {found[0]} are not expanded; write what it stands for")
    return written


Text = Annotated[str, BeforeValidator(_as_text)]
Numbers = Annotated[tuple[int, ...], BeforeValidator(_listed)]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class InputConfig(_Group):
    """The images to score."""

    uri: str
    """Folder, bucket prefix (s3://bucket/prefix; also gs://, abfs://, hf://), or manifest (.parquet, .csv)."""
    roots: tuple[str, ...] = ()
    """Folders and bucket prefixes that a manifest's images may lie below, beside the manifest's own."""
    layout: Layout = "auto"
    """How categories, labels and masks are laid out; auto looks and says what it took."""
    labels: str | None = None
    """CSV with uri (as in scores) and label (normal, defect, ...): what people said, before the layout's labels."""
    region: dict[Text, str] = {}
    """Where to look, by category: address of a mask with the aspect of its images, black where nothing counts. A
    manifest's column region_uri says it for an image."""
    box: Annotated[tuple[str, str, str, str], BeforeValidator(_split)] = ("left", "top", "right", "bottom")
    """Columns of a manifest with boxes of images in photographs, in pixels; rows without values are whole images."""
    group: Text | None = "group"
    """Column of a manifest that names the part that an image is a view of; null: images are no views of parts."""
    bits: Literal["auto"] | int = "auto"
    """Bits that count in files with 16 for each value, as cameras write 10 or 12; auto finds each category's out."""
    channels: Annotated[tuple[int, int, int], BeforeValidator(_split)] | None = None
    """Which of a file's channels are red, green and blue, from 0. Default: its own colours."""
    smallest_defect: float | None = Field(None, gt=0)
    """Length of the smallest defect worth finding, in pixels of the original; see tiles.scale."""
    max_pixels: int = Field(1_000_000_000, gt=0)
    """Larger images are quarantined before they are decoded (width times height); above 100 million, JPEG, JPEG 2000,
    PNG and TIFF are read in pieces, and other formats are quarantined."""
    max_bytes: int = Field(1 << 30, gt=0)
    """Larger files are quarantined before they are read."""
    max_seconds: float = Field(60, gt=0, le=86_400)
    """Images that take longer to decode are quarantined."""

    _has_no_variables = field_validator("uri", "labels")(_address)

    @field_validator("roots")
    @classmethod
    def _have_no_variables(cls, roots: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(root for root in roots if _address(root) is not None)

    @field_validator("region")
    @classmethod
    def _are_masks_of_the_lakes(cls, region: dict[str, str]) -> dict[str, str]:
        return {unicodedata.normalize("NFC", name): uri for name, uri in region.items() if _address(uri) is not None}

    @field_validator("box")
    @classmethod
    def _are_four_columns(cls, names: tuple[str, str, str, str]) -> tuple[str, str, str, str]:
        left, top, right, bottom = names
        names = (left.strip(), top.strip(), right.strip(), bottom.strip())  # a command line may have spaces
        if "" in names or len(set(names)) < len(names) or {"uri", "category", "label", "mask_uri"} & set(names):
            raise ValueError("a box has four columns of its own: left, top, right, bottom")
        return names

    @field_validator("bits")
    @classmethod
    def _are_of_16(cls, bits: Literal["auto"] | int) -> Literal["auto"] | int:
        if bits != "auto" and not 8 <= bits <= 16:
            raise ValueError("of 16-bit values 8 to 16 bits count; auto finds out how many")
        return bits

    @field_validator("channels")
    @classmethod
    def _count_from_0(cls, channels: tuple[int, int, int] | None) -> tuple[int, int, int] | None:
        if channels is not None and min(channels) < 0:
            raise ValueError("channels are counted from 0")
        return channels


class OutputConfig(_Group):
    """Where features and runs are kept."""

    uri: str
    """Folder or bucket prefix; features/ and runs/ appear below it."""
    run_id: Text | None = None
    """Name of the run; giving it again takes up a run that was cut short. Default: the start, in UTC."""

    _has_no_variables = field_validator("uri")(_address)

    @field_validator("run_id")
    @classmethod
    def _names_a_folder(cls, run_id: str | None) -> str | None:
        if run_id is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", run_id):
            raise ValueError("a run id is at most 100 letters, digits, dots, dashes and underscores")
        return run_id


# What is right for settings of several types: of each type a parser would say that it is not that one
ONE_OF = {
    "encoder.size": "give a number of pixels, height,width, {short: pixels}, {area: pixels}, or auto",
    "tiles.scale": "give a number above 0, 16 at most, or auto, or none",
}

USUAL_SIZE = 518  # pixels of a side


class EncoderConfig(_Group):
    """The vision transformer that turns images into patch tokens."""

    name: str = "open_clip:ViT-L-14-336-quickgelu/openai"
    """open_clip:<model>/<pretrained tag> or timm:<model>[.<pretrained tag>]."""
    weights: str | None = None
    """File or s3:// object to load instead of the hub's weights (safetensors, or a PyTorch state dict)."""
    weights_sha256: str | None = None
    """Checksum that the weights must have."""
    size: (
        int
        | Annotated[tuple[int, int], BeforeValidator(_split)]
        | dict[Literal["short", "area"], int]
        | Literal["auto"]
    ) = USUAL_SIZE
    """Images are resized to size x size pixels, or to height,width; multiples of the encoder's patch. {short: 518}
    keeps each image's aspect, {area: 518} takes each category's usual one at as many pixels; auto is {area: 518}."""
    layers: Numbers | Literal["middle"] | None = None
    """Blocks whose output is used, from 0, such as 5,11; middle: the last of the second and of the third quarter of the
    depth. Default: middle with preset lakescore, else the last of each quarter."""
    dtype: Precision = "fp32"
    """Precision of the forward pass."""
    store: Literal["fp16", "fp32", "int8"] = "fp16"
    """Precision of the stored patch tokens; int8 halves their bytes."""
    batch_size: int = Field(8, gt=0)
    """Images in one forward pass."""

    _has_no_variables = field_validator("weights")(_address)

    def __hash__(self) -> int:
        return hash(self.model_dump_json())  # a size may be a mapping

    @property
    def keeps_aspect(self) -> bool:
        """Whether images are seen at an aspect of their own, or of their category."""
        return isinstance(self.size, dict)

    @property
    def short(self) -> int | None:
        """Pixels of the shorter side of every image, where that is said."""
        return self.size.get("short") if isinstance(self.size, dict) else None

    @property
    def area(self) -> int | None:
        """Side of a square with as many pixels as every image, where that is said."""
        return self.size.get("area") if isinstance(self.size, dict) else None

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of what is encoded; where these differ between images, those of a square as long."""
        if isinstance(self.size, tuple):
            return self.size
        side = (self.short or self.area) if self.keeps_aspect else self.size
        assert isinstance(side, int), "auto was made an area"
        return side, side

    @field_validator("size")
    @classmethod
    def _is_one_number_for_a_square(cls, size: int | tuple[int, int] | dict[str, int] | str) -> Any:
        if size == "auto":
            return {"area": USUAL_SIZE}
        if isinstance(size, dict):
            if len(size) != 1 or min(size.values()) < 1:
                raise ValueError(ONE_OF["encoder.size"])
            return size
        assert not isinstance(size, str), "there is no other word"
        height, width = (size, size) if isinstance(size, int) else size
        if min(height, width) < 1:
            raise ValueError("an image has one pixel at least, in height and width")
        return height if height == width else (height, width)  # what means the same is the same, to who compares runs

    @field_validator("weights_sha256")
    @classmethod
    def _is_a_checksum(cls, checksum: str | None) -> str | None:
        if checksum is not None and not re.fullmatch(r"[0-9a-f]{64}", checksum):
            raise ValueError("a sha256 checksum has 64 hexadecimal digits, in lower case")
        return checksum


class TilesConfig(_Group):
    """Images that are encoded in tiles, at a scale of their own."""

    scale: Literal["auto", "none"] | Annotated[float, Field(gt=0, le=16)] = "auto"
    """Pixels that are seen for one of the image, along each side; none: no tiles. auto takes tiles in categories whose
    smallest defect, input.smallest_defect, would be less than 1.5 patches long in the whole image."""
    size: int | None = Field(None, gt=0)
    """Side of a tile in pixels, a multiple of the encoder's patch. Default: encoder.size."""
    overlap: int = Field(64, ge=0)
    """Pixels that neighbouring tiles share, at least. A patch is taken from the tile in which it lies most central."""


OWN_SETTINGS = {  # of presets, beside which they would do nothing
    "paper": ("degrees", "interval", "windows", "fuse_degrees", "projection", "projection_width"),
    "subspace": ("variance",),
}
OLD_NAMES = {"musc": "paper", "subspace": "subspace"}  # of presets, when they were called method.name


class MethodConfig(_Group):
    """How patches are scored; the settings below the preset are each of one preset."""

    preset: Literal["lakescore", "paper", "subspace"] = "lakescore"
    """lakescore: mutual scoring of the images of a category by one descriptor a patch against cleaned references;
    paper: MuSc as it was published; subspace: what the components of a category's tokens leave."""
    name: str | None = Field(None, exclude=True)
    """Old name of `preset`, which the next version will not know."""
    variance: float = Field(0.99, gt=0, le=1)
    """subspace: share of the tokens' variance that the components hold."""
    degrees: Numbers = (1, 3, 5)
    """paper: neighbourhood sizes of LNAMD, odd."""
    interval: float = Field(0.3, gt=0, le=1)
    """paper: share of the smallest distances to other images that is averaged."""
    windows: Numbers = (1, 2, 3)
    """paper: RsCIN's numbers of neighbouring images; 0 alone switches it off. 1 8 9 were taken for VisA."""
    fuse_degrees: bool = False
    """paper: average the degrees' vectors and compare once, instead of comparing for each degree."""
    projection: Literal["none", "pca", "random"] = "none"
    """paper: shorten the compared vectors to `projection_width` values."""
    projection_width: int = Field(256, gt=0)
    """paper: values of a projected patch vector."""

    @model_validator(mode="before")
    @classmethod
    def _has_its_new_name(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("name") is None:
            return given
        if given["name"] not in OLD_NAMES:
            raise ValueError(f"method.name {given['name']!r} is unknown; it is called method.preset now")
        log.warning("method.name is called method.preset now; the next version will not know it")
        preset = OLD_NAMES[given["name"]]
        if given.get("preset", "lakescore") not in ("lakescore", preset):  # from a command line defaults come, too
            raise ValueError(f"name {given['name']} and preset {given['preset']} are two presets")
        return {name: value for name, value in given.items() if name != "name"} | {"preset": preset}

    @model_validator(mode="after")
    def _has_its_own_settings_only(self) -> Self:
        for preset, names in OWN_SETTINGS.items():
            for name in names:
                if preset != self.preset and getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} is a setting of preset {preset}: preset {self.preset} has none")
        return self

    @field_validator("degrees")
    @classmethod
    def _have_a_centre(cls, degrees: tuple[int, ...]) -> tuple[int, ...]:
        if not degrees or any(r < 1 or r % 2 == 0 for r in degrees):
            raise ValueError("degrees are odd neighbourhood sizes, such as 1, 3, 5")
        return degrees

    @field_validator("windows")
    @classmethod
    def _count_images(cls, windows: tuple[int, ...]) -> tuple[int, ...]:
        if not windows or (windows != (0,) and any(k < 1 for k in windows)):
            raise ValueError("windows are numbers of images, such as 1, 2, 3; 0 alone switches RsCIN off")
        return windows


class ReferencesConfig(_Group):
    """The images that each image of a category is compared with."""

    source: Literal["batch", "window", "pinned"] = "batch"
    """The images of this run, those that runs of the last `days` scored, or those that a manifest pins."""
    days: float = Field(7, gt=0, allow_inf_nan=False)
    """Days before this run whose runs are its window: for source window, and for telling drift."""
    pinned: str | None = None
    """Manifest (.parquet, .csv) with uri and category of each reference, for source pinned."""
    mode: Literal["auto", "all", "sample", "nearest"] = "auto"
    """All images of the source, or a sample; auto takes all up to `limit` and a sample above. nearest (lakescore): of
    all up to `limit`, of a sample of `limit` above, each image is compared with the `count` of nearest embeddings."""
    count: int = Field(256, ge=3)
    """Images of a category's sample, or nearest ones to an image: the cost of a run grows with images times this."""
    seed: int = 0
    """Another seed draws another sample."""
    limit: int = Field(1000, gt=0)
    """Images of a category that may all be compared with each other, at a cost that grows with their square."""
    quadratic: bool = False
    """Run mode all above the limit too."""
    thin: int = Field(1, ge=1)
    """lakescore: of a reference's patches only every second row and column (2), every third (3), ... is compared with,
    for large images whose parts lie anyhow: 2 leaves a quarter of the products. It goes with no search.radius."""
    turns: Literal[1, 4, 8] = 1
    """Of parts that lie anyhow: as how many turned images each reference is seen, by quarters or eighths of a turn. The
    cost of encoding references and of scoring grows by as much. Preset subspace has none."""
    near_duplicates: float = Field(0.9997, gt=0, le=1)
    """Images whose embeddings have this cosine or more are no references of each other; 1 takes identical ones only."""
    burst: float | None = Field(None, gt=0, le=1, exclude=True)
    """Old name of `near_duplicates`, which the next version will not know."""

    _has_no_variables = field_validator("pinned")(_address)

    @model_validator(mode="before")
    @classmethod
    def _has_its_new_name(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("burst") is None:
            return given
        log.warning("references.burst is called references.near_duplicates now; the next version will not know it")
        return {name: value for name, value in given.items() if name != "burst"} | {"near_duplicates": given["burst"]}

    @model_validator(mode="after")
    def _has_its_manifest(self) -> Self:
        if (self.source == "pinned") != (self.pinned is not None):
            raise ValueError("source pinned and the manifest of pinned references go together")
        return self


USUAL = {  # values of rules, on images' scores and on pixels
    "auto": {"image": 0.02},
    "quantile": {"image": 0.95, "pixel": 0.999},
    "recall": {"image": 0.95},
}
SAID = ("share", "fixed")  # rules without a usual value: it must be said


_USUAL_RANGE = "0 to 1, e.g. 0.95, and distances of rule fixed 0 to 2"


class RuleConfig(_Group):
    """How a threshold is found for each category."""

    rule: Literal["auto", "quantile", "share", "fixed", "recall", "best_f1"] = "auto"
    """auto: by people's labels, or else by the window's images, or else by this run's, and on pixels that of images.
    Else a quantile of the references' own values, the share of this run's values that may be above, a fixed value, or,
    for images where labels are known, the highest that finds this share of the defects, or that of the best F1."""
    value: float | None = None
    """Of auto the share of normal images that a window's threshold may flag (default: 0.02), the quantile (0.95, for
    pixels 0.999), the recall (0.95), the share, or the distance from 0 to 2; best_f1 takes none."""
    categories: dict[Text, float] = {}
    """Other values for some categories. Where share or fixed have none for a category, auto decides."""

    @field_validator("value")
    @classmethod
    def _is_no_percentage(cls, value: float | None) -> float | None:
        if value is not None and not 0 <= value <= 2:
            raise ValueError(f"{value:g} is no value of any rule: {_USUAL_RANGE}")
        return value

    @field_validator("categories")
    @classmethod
    def _are_written_as_the_lakes(cls, categories: dict[str, float]) -> dict[str, float]:
        return {unicodedata.normalize("NFC", name): value for name, value in categories.items()}

    @model_validator(mode="after")
    def _is_a_share(self) -> Self:
        values = ([] if self.value is None else [self.value]) + list(self.categories.values())
        if self.rule in SAID and not values:
            raise ValueError(f"rule {self.rule} needs a value, or values of categories")
        for value in values:
            if self.rule == "auto" and not 0 < value < 0.5:
                raise ValueError(
                    f"{value:g} is no value of rule auto, whose value is a share of false alarms such as 0.02; for a "
                    "quantile take rule quantile"
                )
            if not 0 <= value <= (2 if self.rule == "fixed" else 1):
                raise ValueError(f"{value:g} is no value of rule {self.rule}: {_USUAL_RANGE}")
        return self

    def of(self, category: str) -> str:
        """Return the rule that decides in a category."""
        lacks = self.categories.get(category, self.value) is None
        return "auto" if lacks and self.rule in SAID else self.rule

    def value_of(self, category: str, what: Literal["image", "pixel"]) -> float:
        """Return the value of the rule that decides in a category; 0 of one that has none."""
        value = self.categories.get(category, self.value)
        return USUAL.get(self.of(category), {}).get(what, 0.0) if value is None else value

    @property
    def fitted(self) -> bool:
        """Whether the threshold is found from labels."""
        return self.rule in ("recall", "best_f1")


class DecisionConfig(_Group):
    """Which images, and which of their pixels, are called anomalous."""

    image: RuleConfig = RuleConfig()
    """The threshold on an image's raw score."""
    pixel: RuleConfig = RuleConfig()
    """The threshold on the values of anomaly maps."""

    @model_validator(mode="after")
    def _fits_images_only(self) -> Self:
        if self.pixel.fitted:
            raise ValueError(
                f"decision.pixel.rule {self.pixel.rule} needs labels of images: take quantile, share or fixed"
            )
        if self.pixel.rule == "auto" and (self.pixel.value is not None or self.pixel.categories):
            raise ValueError("decision.pixel.rule auto takes the threshold of images, and no value of its own")
        return self


class FamiliesConfig(_Group):
    """Families of defects: regions that differ alike from references."""

    count: int | None = Field(None, gt=0)
    """Families of a category. Default: as many as are found."""


class DriftConfig(_Group):
    """When this run's new images are said to differ from those of the window."""

    distance: float = Field(0.3, gt=0, le=1)
    """Kolmogorov-Smirnov distance of scores, or of image stats, from which they drift."""
    quarantine: float = Field(0.05, gt=0, le=1)
    """Rise of the share of quarantined images from which it drifts."""
    significance: float = Field(0.001, gt=0, lt=1)
    """Chance of such a difference between images of one kind, above which it is none."""


class ReportConfig(_Group):
    """The report of a run, a page for people."""

    images: int = Field(500, ge=0)
    """Worst images of each category with pictures, the others are listed by name; 5,000 of all categories together.
    0 writes no report."""


class SearchConfig(_Group):
    """How the nearest patch in another image is found."""

    kind: Literal["auto", "gemm", "faiss"] = "auto"
    """Blocked matrix products, a FAISS index per reference image, or the faster of both for shape and device."""
    dtype: Literal["auto", "fp32", "fp16", "bf16", "int8"] = "auto"
    """Precision of the compared vectors; sums are never rounded so. auto: fp32; for lakescore on GPUs fp16."""
    radius: Literal["auto", "whole"] | int = "auto"
    """lakescore: a patch is compared with those so many patches around its own place; auto takes for each category the
    fewest that keep 99 % of the distances of a sample, or the whole image. The other presets take the whole image."""
    memory_gb: Literal["auto"] | Annotated[float, Field(gt=0, allow_inf_nan=False)] = "auto"
    """What one scoring worker may hold: it bounds the units that scoring is cut into. auto: 4, and on a GPU 70 % of its
    own, so that references are read less often."""

    @field_validator("radius")
    @classmethod
    def _reaches_a_patch(cls, radius: Literal["auto", "whole"] | int) -> Literal["auto", "whole"] | int:
        if isinstance(radius, int) and radius < 1:
            raise ValueError("a radius has one patch at least; whole compares with the whole image")
        return radius

    @model_validator(mode="after")
    def _fits_the_search(self) -> Self:
        if self.kind == "faiss" and self.dtype not in ("auto", "fp32"):
            raise ValueError(f"faiss searches in fp32; use kind gemm or auto for {self.dtype}")
        if self.kind == "faiss" and isinstance(self.radius, int):
            raise ValueError("faiss searches whole images; use kind gemm or auto for a radius")
        return self


class PoolConfig(_Group):
    """A pool of workers for one stage."""

    min: int = Field(1, gt=0)
    """Workers at least, where the cluster has yet to grow for them and `max` is not given."""
    max: int | None = Field(None, gt=0)
    """Workers at most. Default: as many as the GPUs of the cluster, or else half of its CPUs, have room for."""
    cpus: int = Field(1, gt=0)
    """Threads of one worker, and CPUs where it has no GPU."""
    gpus: float | None = Field(None, ge=0)
    """GPUs of one worker. Default: 1 where the cluster has any."""

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class RayConfig(_Group):
    """The Ray cluster."""

    address: str | None = None
    """Cluster to join. Default: RAY_ADDRESS, or else a local Ray for this run alone."""
    encode: PoolConfig = PoolConfig()
    """Workers that run the encoder."""
    score: PoolConfig = PoolConfig()
    """Workers that score."""


class ScoreConfig(_Group):
    """Score every image of a lake for anomalies."""

    input: InputConfig
    output: OutputConfig
    encoder: EncoderConfig = EncoderConfig()
    tiles: TilesConfig = TilesConfig()
    method: MethodConfig = MethodConfig()
    references: ReferencesConfig = ReferencesConfig()
    search: SearchConfig = SearchConfig()
    decision: DecisionConfig = Field(DecisionConfig(), validate_default=True)
    families: FamiliesConfig = FamiliesConfig()
    drift: DriftConfig = DriftConfig()
    report: ReportConfig = ReportConfig()
    ray: RayConfig = RayConfig()
    log: Literal["text", "json"] = "text"
    """Log lines for people, or JSON objects with run, stage and unit for machines."""
    metrics: Literal["exact", "musc"] = "exact"
    """Metrics where labels are known; musc adds PRO over 200 linear thresholds, as the official code takes it."""

    @model_validator(mode="after")
    def _has_its_layers(self) -> Self:
        if self.method.preset == "lakescore" and self.encoder.layers is None:
            encoder = self.encoder.model_copy(update={"layers": "middle"})
            object.__setattr__(self, "encoder", encoder)  # frozen for everybody else
        if self.references.thin != 1 and (self.method.preset != "lakescore" or isinstance(self.search.radius, int)):
            raise ValueError("references.thin is a setting of preset lakescore, and goes with no search.radius")
        if self.references.mode == "nearest" and self.method.preset != "lakescore":
            raise ValueError("references.mode nearest is of preset lakescore")
        if self.method.preset == "subspace" and self.references.turns != 1:
            raise ValueError("references.turns is no setting of preset subspace, which compares with no reference")
        if self.method.preset != "lakescore" and self.search.radius != "auto":
            raise ValueError(f"search.radius is a setting of preset lakescore: preset {self.method.preset} has none")
        return self

    @field_validator("decision")
    @classmethod
    def _has_its_values(cls, decision: DecisionConfig) -> DecisionConfig:
        """Fill in the usual values: settings that mean the same are the same, to whoever compares runs."""

        def filled(name: str) -> RuleConfig:
            rule: RuleConfig = getattr(decision, name)
            usual = USUAL.get(rule.rule, {}).get(name)
            return rule.model_copy(update={"value": usual}) if rule.value is None and usual is not None else rule

        return decision.model_copy(update={name: filled(name) for name in ("image", "pixel")})
