"""What lakes of some sizes ask of a cluster: their nights, planned as infra/ sets them, and told in words."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from math import inf
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from pipeline.config import ReferencesConfig, ScoreConfig
from pipeline.errors import ConfigError
from pipeline.plan.rates import ClusterRates, Prices
from pipeline.plan.sizing import HEAD, Encoding, Night, Node, Planner, Work, head_gb
from pipeline.report.terminal import aligned, ruled
from pipeline.scoring.scorer import Layer, make_scorer
from pipeline.store.features import block_images

PATCH, DEPTH, WIDTH = 14, 24, 1024  # of ViT-L/14
LAYERS = {"lakescore": (11, 17), "paper": (5, 11, 17, 23)}
# As infra/k8s has them: CPUs of a GPU's node that take tasks, GB of search.memory_gb, images of encoder.batch_size
CPUS, MEMORY_GB, BATCH = 6, 16, 32
READY = 600  # seconds in which a node comes and goes
WIDEST = 98  # columns of a line
NIGHTS = ("first", "nightly")
ASSUMED = """\
ASSUMED, nothing of it measured on a GPU: {rates.encoded:.3g} multiply-adds a second to encode,
{rates.products:.3g} to compare (a bit more than half of the 70 TFLOP/s of half precision that NVIDIA
names for an A10G), {rates.aggregated:.3g} values of neighbourhoods (30 bytes for each, of 600 GB/s). By
Amazon's guide to S3, {rates.request:g} s until a request is answered, {stream:.0f} MB/s for each.

Measured on one core, by bench.rates: {ms[decoded]:.0f} ms for a photograph of 5 megapixels,
{ms[mapped]:.0f} ms for a megapixel of maps, {ms[measured]:.0f} ms for one of metrics; of the head
{ms[listed]:.2f} ms for an image of the lake, {ms[recorded]:.2f} ms for one of the night,
{rates.remembered:,.0f} bytes of memory for an image.

As infra/ has it: ViT-L/14, encoder.dtype and search.dtype fp16, search.memory_gb {memory}, {cpus} CPUs of each node for
tasks and no node without a GPU, {ready:g} minutes for nodes to come and to go; references.mode auto. Not in it:
regions, the report, and what a cluster costs when it is idle.

Prices: ${prices.node:g} a node and hour (default: g5.2xlarge on demand in us-east-1, $1.212, and 12 % for EKS Auto
Mode; spot is often half or less), ${prices.head_gb:.3f} a GB and hour of the head's m7i. S3: ${put:g} for 1,000
requests that write or list, ${get:g} for 1,000 that read, ${prices.stored:g} a GB and month."""

Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Question:
    """How lakes are scored: `categories` of each, of whose images the share `new` is new each night.

    The share `masked` has masks, for metrics. `size` is the side of what is encoded, in pixels. With `gpus` nodes are
    planned for these, without for the fewest that end within so many hours.
    """

    categories: int
    new: float
    masked: float
    preset: Literal["lakescore", "paper"]
    size: int
    hours: float
    gpus: int | None

    def __post_init__(self) -> None:
        if self.size < PATCH:
            raise ConfigError(f"--size {self.size} is less than one patch of {PATCH} pixels")

    @property
    def limit(self) -> float:
        """Hours after which a night is late."""
        return self.hours if self.gpus is None else inf


@dataclass(frozen=True)
class Plan:
    """A run, and the GB of the head's node."""

    work: Work
    encoding: Encoding
    night: Night
    head: int


Lake = tuple[Plan, Plan]  # its first night, and those that follow


def read_rates(file: Path) -> ClusterRates:
    """Read a JSON object of rates; those that it does not name are the usual ones. Raises `ConfigError`."""
    try:
        given = TypeAdapter(dict[str, Rate]).validate_json(file.read_bytes())
    except OSError as error:
        raise ConfigError(f"--rates {file}: {error.strerror}") from error
    except ValidationError as error:
        [first, *_] = error.errors()
        raise ConfigError(": ".join([f"--rates {file}", *map(str, first["loc"]), first["msg"]])) from error
    if unknown := sorted(given.keys() - {field.name for field in fields(ClusterRates)}):
        raise ConfigError(f"--rates {file}: there is no rate {unknown[0]!r}")
    return ClusterRates(**given)


def plan_lake(images: int, question: Question, rates: ClusterRates) -> Lake:
    """Plan the nights of a lake of so many images."""
    first = Work(images, images, question.categories, 0, question.masked, question.preset == "paper")
    nightly = replace(first, images=max(1, round(images * question.new)), runs=int(ReferencesConfig().days))
    return _plan(first, question, rates), _plan(nightly, question, rates)


def describe(question: Question, lakes: Sequence[Lake], rates: ClusterRates, prices: Prices, file: str | None) -> str:
    """Return tables of the nights of some lakes, and of the stages of the last one, and what they rest on.

    `file` is where the rates are from, if they are no usual ones.
    """
    nights = f"{100 * question.new:g} % of the images new each night"
    if question.gpus is None:
        nights += f", {question.hours:g} hours a night"
    parts = (
        [f"Preset {question.preset} at {question.size} pixels, {question.categories} categories, {nights}"],
        ruled(aligned(_nights(lakes, question.limit, prices), left=(0, 1, 8))),
        ruled(aligned(_kept(lakes, rates, prices))),
        ruled(aligned(_stages(lakes[-1]), left=(0, 1))),
        [_limit(name, plan.night) for name, plan in zip(NIGHTS, lakes[-1], strict=True)],
        _assumed(rates, prices, file),
    )
    return "\n\n".join("\n".join(lines) for lines in parts)


def _plan(work: Work, question: Question, rates: ClusterRates) -> Plan:
    layers, side = LAYERS[question.preset], question.size // PATCH
    patches, layer_bytes = side**2, 2 * side**2 * WIDTH
    method = {"preset": question.preset}
    config = ScoreConfig.model_validate({"input": {"uri": "any"}, "output": {"uri": "any"}, "method": method})
    scorer = make_scorer(config, Layer((side, side), WIDTH, bytes=2, count=len(layers)))
    # The blocks' matrices, and attention between all tokens
    forward = patches * DEPTH * (12 * WIDTH**2 + 2 * patches * WIDTH)
    block = block_images(layer_bytes * len(layers), BATCH)
    encoding = Encoding((side, side), PATCH, forward, layers, layer_bytes, block)
    planner = Planner(work, encoding, Node(CPUS, MEMORY_GB * 1e9, READY), scorer, config.references, rates)
    night = planner.within(question.hours) if question.gpus is None else planner.on(question.gpus)
    return Plan(work, encoding, night, head_gb(work, rates))


def _nights(lakes: Sequence[Lake], hours: float, prices: Prices) -> list[list[str]]:
    """Return what each night takes and costs."""
    rows = [["images", "night", "GPUs", "hours", "$", "nodes $", "head $", "requests $", "limited by"]]
    for plans in lakes:
        for name, plan in zip(NIGHTS, plans, strict=True):
            images, night = f"{plan.work.total:,}" if name == "first" else "", plan.night
            bill = [night.held * prices.node, night.hours * plan.head * prices.head_gb, night.requests.dollars(prices)]
            dollars = [f"{of:,.0f}" for of in (sum(bill), *bill)]
            late = "late: " if night.hours > hours else ""
            rows.append([images, name, str(night.nodes), f"{night.hours:.1f}", *dollars, f"{late}{night.longest.name}"])
    return rows


def _kept(lakes: Sequence[Lake], rates: ClusterRates, prices: Prices) -> list[list[str]]:
    """Return what lies in the bucket after the first night, how many requests each makes, and the head's node."""
    rows = [["images", "features TB", "maps TB", "$ a month", "objects M"]]
    rows[0] += ["requests M", "nightly M", "head GB", "nightly GB"]
    for plans in lakes:
        images, encoding = plans[0].work.total, plans[0].encoding
        features, maps = images * encoding.bytes, images * encoding.megapixels * rates.map_bytes
        month = (features + maps) / 1e9 * prices.stored
        kept = [f"{features / 1e12:.2f}", f"{maps / 1e12:.2f}", f"{month:,.0f}"]
        kept.append(f"{encoding.objects(images) / 1e6:.2f}")
        requests = [f"{plan.night.requests.all / 1e6:.2f}" for plan in plans]
        rows.append([f"{images:,}", *kept, *requests, *[str(plan.head) for plan in plans]])
    return rows


def _stages(plans: Sequence[Plan]) -> list[list[str]]:
    """Return the seconds of each part of both nights; in brackets those that go on beside others, and add none."""
    nights = [plan.night for plan in plans]
    names = [f"{name}, {night.nodes} GPUs" for name, night in zip(NIGHTS, nights, strict=True)]
    rows = [[f"seconds of {plans[0].work.total:,} images", "done by", *names]]
    found = [{part.name: part for part in night.parts} for night in nights]
    for name, part in (found[1] | found[0]).items():
        cells = []
        for of in found:
            own = of.get(name)
            text = f"{own.seconds:,.0f}" if own is not None and own.seconds >= 0.5 else "-"
            cells.append(f"({text})" if own is not None and own.beside else text)
        rows.append([name, part.workers, *cells])
    return [*rows, ["all", "", *[f"{night.seconds:,.0f}" for night in nights]]]


def _limit(name: str, night: Night) -> str:
    """Say what takes the largest part of a night, and how long all others wait for the head."""
    longest = night.longest
    share = 100 * longest.seconds / night.seconds
    head = 100 * sum(part.seconds for part in night.parts if part.workers == HEAD) / night.seconds
    return (
        f"{name.capitalize()}: limited by {longest.name} ({longest.workers}), {share:.0f} % of the time; "
        f"the head works alone for {head:.0f} %"
    )


def _assumed(rates: ClusterRates, prices: Prices, file: str | None) -> list[str]:
    """Return paragraphs that say what the figures rest on."""
    given = [name for name, usual in vars(ClusterRates()).items() if vars(rates)[name] != usual]
    text = ASSUMED.format(
        rates=rates,
        ms={name: 1e3 * value for name, value in vars(rates).items()},
        stream=rates.stream / 1e6,
        prices=prices,
        put=1000 * prices.put,
        get=1000 * prices.get,
        memory=MEMORY_GB,
        cpus=CPUS,
        ready=READY / 60,
    )
    if given:
        text = f"By {file}, whatever is said of them below: {', '.join(given)}.\n\n{text}"
    return [textwrap.fill(paragraph, WIDEST) for paragraph in text.split("\n\n")]
