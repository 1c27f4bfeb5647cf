"""What a lake asks of a cluster, before there is one: seconds of each stage, nodes, requests to the bucket, dollars."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from pipeline.config import ReferencesConfig
from pipeline.plan.cost import Cost
from pipeline.plan.rates import ClusterRates, Prices
from pipeline.plan.sampling import expected_references
from pipeline.plan.schedule import schedule
from pipeline.plan.units import UNIT_OPERATIONS, Members, Reach, Unit

MOST = 4096  # nodes; who needs more has another question
READERS = 8  # requests of one worker that are under way at a time
PAGE = 1000  # objects that a bucket lists at a time
MAP_BLOCK = 64  # images of one task that writes maps, all of them in one file,
READ_BY_MAPS = 4  # requests of it: its images, the units, what they found, references
SAMPLED = 10  # images of a category that show how near the nearest patches lie
OF_CATEGORY, OF_RUN = 10, 20  # objects that a run writes of a category, for its workers, and of itself
INDEX_PARTS = 8  # of a category, on average
# GB of the smallest node of a head, and the share of its memory that infra/ leaves to a driver
HEAD_GB, HEAD_SHARE = 16, 0.5
HEAD, CPUS, GPUS, NODES = "head", "CPU workers", "GPU workers", "nodes"


class Method(Protocol):
    """What a plan asks of a method of scoring: the part of `Scorer` that cuts its work."""

    passes: int

    def usual_reach(self, grid: tuple[int, int]) -> Reach: ...

    def units(
        self, of_pass: int, categories: Mapping[str, Members], layers: Sequence[int], memory: float, operations: float
    ) -> list[Unit]: ...

    def cost(self, unit: Unit) -> Cost: ...


@dataclass(frozen=True)
class Node:
    """A node with one GPU: how many CPUs take tasks, and the bytes that its scoring worker may hold.

    `ready` are the seconds from the wish for a node to its first work, and from its last work to its end.
    """

    cpus: int
    memory: float
    ready: float


@dataclass(frozen=True)
class Encoding:
    """What the encoder makes of an image, by `forward` multiply-adds: a grid (H, W) of patches, and layers of tokens.

    `pixels` is the side of a patch, `layer_bytes` what is stored of a layer; `block` images share a file.
    """

    grid: tuple[int, int]
    pixels: int
    forward: float
    layers: tuple[int, ...]
    layer_bytes: int
    block: int

    @property
    def bytes(self) -> int:
        """What is stored of an image."""
        return self.layer_bytes * len(self.layers)

    @property
    def patches(self) -> int:
        return self.grid[0] * self.grid[1]

    @property
    def megapixels(self) -> float:
        """Pixels of an image's map, in millions."""
        return self.patches * self.pixels**2 / 1e6

    def files(self, images: float) -> float:
        """Return in how many files the features of so many images lie."""
        return images / self.block

    def objects(self, images: float) -> float:
        """Return how many objects so many images leave: two files of features for a block, and those of maps."""
        return 2 * self.files(images) + images / MAP_BLOCK


@dataclass(frozen=True)
class Work:
    """Images that a run encodes and scores, evenly in `categories`, in a lake of `total` images.

    `runs` is the number of earlier ones that it reads, and `masked` the share of the images with masks, which metrics
    of pixels are made for. `rescored` says whether the preset re-scores.
    """

    images: int
    total: int
    categories: int
    runs: int = 0
    masked: float = 0.0
    rescored: bool = False

    def of(self, number: int) -> tuple[int, int]:
        """Return how many of the images, and of the lake, fall to one of the categories."""
        images, total = (of // self.categories + (number < of % self.categories) for of in (self.images, self.total))
        return images, total


@dataclass(frozen=True)
class Part:
    """What a night does, by whom, and the seconds that it takes; `beside` others that take longer it adds none."""

    name: str
    workers: str
    seconds: float
    beside: bool = False


@dataclass(frozen=True)
class Requests:
    """To the bucket: how many write or list, and how many read."""

    puts: float
    gets: float

    @property
    def all(self) -> float:
        return self.puts + self.gets

    def dollars(self, prices: Prices) -> float:
        return self.puts * prices.put + self.gets * prices.get


@dataclass(frozen=True)
class Night:
    """One run on so many nodes: what it does, one part after the other, and its requests to the bucket.

    `alone` are the seconds in which the head works before it asks for nodes, which cost from then on.
    """

    nodes: int
    parts: Sequence[Part]
    alone: float
    requests: Requests

    @property
    def seconds(self) -> float:
        return _seconds(self.parts)

    @property
    def hours(self) -> float:
        return self.seconds / 3600

    @property
    def held(self) -> float:
        """Hours of all nodes together."""
        return self.nodes * (self.seconds - self.alone) / 3600

    @property
    def longest(self) -> Part:
        """What takes the largest part of the night."""
        return max((part for part in self.parts if not part.beside), key=lambda part: part.seconds)


class Planner:
    """Plans one kind of work for any number of nodes, by the units that a run would cut."""

    def __init__(
        self,
        work: Work,
        encoding: Encoding,
        node: Node,
        method: Method,
        references: ReferencesConfig,
        rates: ClusterRates,
    ) -> None:
        self._work, self._encoding, self._node, self._rates = work, encoding, node, rates
        self._members = dict(_members(work, encoding, method, references))
        memory, operations = node.memory, UNIT_OPERATIONS["cuda"]
        passes = [
            method.units(number, self._members, encoding.layers, memory, operations) for number in range(method.passes)
        ]
        self._passes = [[self._unit(unit, method.cost(unit)) for unit in units] for units in passes]
        self._requests = self._count_requests(list(chain.from_iterable(passes)))

    def on(self, nodes: int) -> Night:
        """Plan the run on so many nodes."""
        cpus, before = nodes * self._node.cpus, self._before()
        parts = [
            *before,
            Part("nodes come and go", NODES, self._node.ready),
            *self._extract(nodes, cpus),
            *self._compare(cpus),
            *self._score(nodes),
            *self._reduce(cpus),
            Part("rows of the images", HEAD, self._work.images * self._rates.recorded),
        ]
        return Night(nodes, parts, _seconds(before), self._requests)

    def within(self, hours: float) -> Night:
        """Plan the run with the fewest nodes that ends within so many hours, with `MOST` nodes where none does."""
        low, high = 0, MOST  # `low` are not enough, `high` are, if any
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.on(middle).hours <= hours else (middle, high)
        return self.on(high)

    def _before(self) -> list[Part]:
        """Return what the head does alone: until the first image is encoded nobody else has work."""
        work, rates = self._work, self._rates
        rows = work.runs * work.total
        return [
            Part("list the lake", HEAD, work.total * rates.listed + work.total / PAGE * rates.request),
            Part("read earlier runs", HEAD, rows * rates.recalled + rows * rates.recalled_bytes / rates.stream),
            Part("find stored features", HEAD, self._finding()),
        ]

    def _finding(self) -> float:
        """Return the seconds in which the head reads which images' features are stored, of all of the lake."""
        if not self._work.runs:
            return 0.0
        stored = self._work.total - self._work.images
        return stored * self._rates.found + self._reading(INDEX_PARTS * self._work.categories)

    def _extract(self, nodes: int, cpus: int) -> list[Part]:
        """Return decoding, and beside it encoding and writing, which a worker with a GPU does in turn."""
        work, encoding, rates = self._work, self._encoding, self._rates
        reading = (rates.request + rates.photograph / rates.stream) / READERS  # ahead, while others are decoded
        decode = _shared(work.images, cpus, encoding.block) * max(rates.decoded, reading)
        each = _shared(work.images, nodes, encoding.block)
        encode = each * encoding.forward / rates.encoded
        write = each * (encoding.bytes / rates.stream + 2 * rates.request / encoding.block)
        slow = decode > encode + write
        return [
            Part("decode", CPUS, decode, beside=not slow),
            Part("encode", GPUS, encode, beside=slow),
            Part("write features", GPUS, write, beside=slow),
        ]

    def _compare(self, cpus: int) -> list[Part]:
        """Return what is found out of each category by one task."""
        rates, layers = self._rates, len(self._encoding.layers)
        duplicates, radius = list[float](), list[float]()
        for of in self._members.values():
            duplicates.append(of.total * rates.near_duplicates + self._embeddings(of))
            if of.radius is not None:
                pairs = SAMPLED * (SAMPLED - 1) / 2 * of.patches**2
                values = self._encoding.bytes / self._encoding.patches / 2  # of fp16
                radius.append(pairs * values / rates.reached + self._reading(SAMPLED * 3 * layers))
        # references of the night before, or its own: both are found once more
        found = [Part("find references", HEAD, self._finding())] if self._work.runs else []
        return [
            *found,
            Part("near duplicates", CPUS, schedule(duplicates, cpus).makespan),
            Part("radius of the search", CPUS, schedule(radius, cpus).makespan),
        ]

    def _score(self, nodes: int) -> list[Part]:
        """Return what the units take, pass by pass."""
        seconds = [0.0, 0.0, 0.0]
        for units in self._passes:
            whole = schedule([sum(unit) for unit in units], nodes).makespan
            totals = [sum(of) for of in zip(*units, strict=True)]
            for place, total in enumerate(totals):
                seconds[place] += whole * total / sum(totals)
        names = ("read features", "neighbourhoods", "products")
        return [Part(name, GPUS, of) for name, of in zip(names, seconds, strict=True)]

    def _reduce(self, cpus: int) -> list[Part]:
        """Return what follows scoring: blocks of images, then one task for each category."""
        work, rates, megapixels = self._work, self._rates, self._encoding.megapixels
        each = megapixels * (rates.mapped + rates.map_bytes / rates.stream)
        each += (1 + READ_BY_MAPS) * rates.request / MAP_BLOCK
        maps = _shared(work.images, cpus, MAP_BLOCK) * each
        thresholds, metrics = list[float](), list[float]()
        for of in self._members.values():
            pairs = of.total**2 if work.rescored else 0
            thresholds.append(self._embeddings(of) + pairs / rates.rescored)
            metrics.append(of.total * work.masked * (megapixels * rates.measured + rates.request))
        final = "thresholds, re-scoring" if work.rescored else "thresholds"
        return [
            Part("maps", CPUS, maps),
            Part(final, CPUS, schedule(thresholds, cpus).makespan),
            Part("metrics", CPUS, schedule(metrics, cpus).makespan),
        ]

    def _unit(self, unit: Unit, cost: Cost) -> tuple[float, float, float]:
        """Return the seconds of a unit: of moving tokens and scores, of neighbourhoods, of products."""
        rates = self._rates
        scores = 8 * unit.patches * (unit.stop - unit.start)  # and their errors
        moved = self._reading(self._gets(unit), cost.read) + self._putting(scores)
        return moved, cost.aggregated / rates.aggregated, cost.products / rates.products

    def _gets(self, unit: Unit) -> float:
        """Return the requests that read a unit's tokens: two for each file, and one for each layer of an image."""
        block, queries = self._encoding.block, unit.stop - unit.start
        neighbours = unit.references == unit.population  # who shares files
        of_references = 0.0 if unit.whole else unit.references * (1 + (2 / block if neighbours else 2))
        return len(unit.layers) * (queries * (1 + 2 / block) + of_references)

    def _embeddings(self, of: Members) -> float:
        """Return the seconds in which the embeddings of a category's images and references are read."""
        return self._reading(self._encoding.files(of.total) + (0 if of.mutual else of.references))

    def _reading(self, requests: float, read: float = 0) -> float:
        return (requests * self._rates.request + read / self._rates.stream) / READERS

    def _putting(self, written: float) -> float:
        return self._rates.request + written / self._rates.stream

    def _count_requests(self, units: Sequence[Unit]) -> Requests:
        """Return all requests of a run."""
        work, encoding = self._work, self._encoding
        files, stored = encoding.files(work.images), encoding.files(work.total - work.images) if work.runs else 0.0
        lists = (work.total + 2 * stored) / PAGE
        puts = lists + 2 * files + work.images / MAP_BLOCK + len(units) + work.categories * OF_CATEGORY + OF_RUN
        earlier = sum(0 if of.mutual else of.references for of in self._members.values())
        gets = work.images * (1 + READ_BY_MAPS / MAP_BLOCK + work.masked) + 2 * (files + earlier)
        gets += 2 * INDEX_PARTS * work.categories if work.runs else 0
        return Requests(puts, gets + sum(map(self._gets, units)))


def head_bytes(work: Work, rates: ClusterRates) -> float:
    """Return the bytes that the head holds at most: of the lake's images, and of earlier runs' rows."""
    return work.total * (rates.remembered + work.runs * rates.recalled_bytes)


def head_gb(work: Work, rates: ClusterRates) -> int:
    """Return the GB of the smallest node, of 16, 32, 64 and so on, whose head holds a run."""
    gb = HEAD_GB
    while gb * HEAD_SHARE * 1e9 < head_bytes(work, rates):
        gb *= 2
    return gb


def _members(
    work: Work, encoding: Encoding, method: Method, references: ReferencesConfig
) -> Iterator[tuple[str, Members]]:
    """Yield the categories that have something to do, and whom their images are compared with."""
    reach = method.usual_reach(encoding.grid)
    for number in range(work.categories):
        images, total = work.of(number)
        if images and total > 1:
            count = expected_references(references, total)
            yield (
                str(number),
                Members(
                    images,
                    count,
                    total,
                    "",
                    encoding.grid,
                    mutual=images == total,
                    radius=reach.radius,
                    share=reach.products,
                    thin=reach.thin,
                ),
            )


def _shared(images: int, workers: int, block: int) -> float:
    """Return the images of the busiest worker, of whom each takes a block at a time."""
    return max(images / workers, min(images, block))


def _seconds(parts: Sequence[Part]) -> float:
    return sum(part.seconds for part in parts if not part.beside)
