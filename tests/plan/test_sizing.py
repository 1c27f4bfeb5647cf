"""What a lake asks of a cluster: against counting by hand, and always the fewest nodes that do it."""

from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import ReferencesConfig, ScoreConfig
from pipeline.images import files
from pipeline.plan import sizing
from pipeline.plan.rates import ClusterRates, Prices
from pipeline.plan.sizing import (
    CPUS,
    GPUS,
    HEAD,
    MAP_BLOCK,
    MOST,
    READERS,
    Encoding,
    Night,
    Node,
    Part,
    Planner,
    Requests,
    Work,
    head_bytes,
    head_gb,
)
from pipeline.plan.squares import near_products
from pipeline.scoring.lakescore import scorer
from pipeline.scoring.scorer import Layer, make_scorer
from pipeline.stages import maps
from pipeline.store import features

GRID, PATCHES, WIDTH = (8, 8), 64, 64
SHARE = near_products(GRID, 1) / PATCHES**2  # of the products, within one patch
PAIR = PATCHES**2 * 2 * WIDTH * SHARE  # multiply-adds of two images
ENCODING = Encoding(GRID, 14, forward=1e9, layers=(1, 2), layer_bytes=2 * PATCHES * WIDTH, block=32)
NODE = Node(cpus=4, memory=1e9, ready=600)
RATES = ClusterRates(encoded=1e11, products=1e9, aggregated=1e9, request=0.05)
SAMPLED = ReferencesConfig(mode="sample", count=16)
ALL = ReferencesConfig(mode="all", quadratic=True)


def planner(
    work: Work,
    references: ReferencesConfig = ALL,
    rates: ClusterRates = RATES,
    preset: Literal["lakescore", "paper"] = "lakescore",
) -> Planner:
    settings = {"input": {"uri": "any"}, "output": {"uri": "any"}, "method": {"preset": preset}}
    method = make_scorer(ScoreConfig.model_validate(settings), Layer(GRID, WIDTH, 2, 2))
    return Planner(work, ENCODING, NODE, method, references, rates)


def lake(images: int, categories: int = 1) -> Work:
    return Work(images, images, categories)


def parts(night: Night) -> dict[str, Part]:
    found = {part.name: part for part in night.parts}
    assert len(found) == len(night.parts)
    return found


def seconds(night: Night, *names: str) -> list[float]:
    return [parts(night)[name].seconds for name in names]


def test_images_are_encoded_and_written_by_one_worker_while_others_are_decoded() -> None:
    night = planner(lake(640)).on(2)
    encode, write, decode = seconds(night, "encode", "write features", "decode")
    assert encode == pytest.approx(320 * 1e9 / 1e11)
    assert write == pytest.approx(320 * ENCODING.bytes / RATES.stream + 320 / 32 * 2 * 0.05)
    assert decode == pytest.approx(640 / 8 * RATES.decoded)
    found = parts(night)
    assert found["decode"].beside == (decode <= encode + write)
    assert found["encode"].beside == found["write features"].beside == (decode > encode + write)
    assert [found[name].workers for name in ("decode", "encode", "rows of the images")] == [CPUS, GPUS, HEAD]


def test_what_is_slower_of_decoding_and_encoding_counts() -> None:
    slow = planner(lake(640), rates=replace(RATES, decoded=60)).on(2)
    quick = planner(lake(640), rates=replace(RATES, decoded=1e-6, photograph=1)).on(2)
    assert parts(slow)["encode"].beside and not parts(slow)["decode"].beside
    assert slow.longest.name == "decode" and not parts(quick)["encode"].beside
    others = sum(part.seconds for part in slow.parts if not part.beside and part.name != "decode")
    assert slow.seconds == pytest.approx(others + 640 / 8 * 60)
    # of a photograph that is decoded at once, reading is what remains, several at a time
    assert seconds(quick, "decode") == [pytest.approx(640 / 8 * 0.05 / READERS)]


def test_a_category_of_one_unit_multiplies_each_pair_once() -> None:
    night = planner(lake(40, 2)).on(1)
    products, around = seconds(night, "products", "neighbourhoods")
    assert products == pytest.approx(2 * 20 * 19 / 2 * PAIR / 1e9)
    assert around == pytest.approx(40 * scorer.DEGREES * PATCHES * 2 * WIDTH / 1e9)


def test_new_images_and_then_references_are_compared_with_the_sample_of_the_lake() -> None:
    work = Work(images=100, total=1000, categories=1, runs=7)
    products, read = seconds(planner(work, SAMPLED).on(1), "products", "read features")
    assert products == pytest.approx((100 * 16 + 16 * 16) * PAIR / 1e9)
    tokens = (100 + 16 + 16 + 16) * ENCODING.bytes
    requests = 2 * ((100 + 16) * (1 + 2 / 32) + 2 * 16 * 3)  # of each layer; each reference lies in a file of its own
    scores = 2 * 0.05 + 8 * PATCHES * (100 + 16) / RATES.stream
    assert read == pytest.approx((requests * 0.05 + tokens / RATES.stream) / READERS + scores)


def test_the_paper_compares_on_each_layer_and_re_scores_all_pairs_of_a_category() -> None:
    work = replace(lake(40), rescored=True)
    night = planner(work, preset="paper").on(1)
    assert seconds(night, "products") == [pytest.approx(2 * 3 * 40 * 39 / 2 * PATCHES**2 * WIDTH / 1e9)]
    [again], [found] = (seconds(planner(of).on(1), name) for of, name in _thresholds(work))
    assert again - found == pytest.approx(40**2 / RATES.rescored)
    assert seconds(night, "radius of the search") == [0]


def _thresholds(work: Work) -> list[tuple[Work, str]]:
    return [(work, "thresholds, re-scoring"), (replace(work, rescored=False), "thresholds")]


def test_maps_are_written_many_at_a_time() -> None:
    work, megapixels = lake(6400), 112**2 / 1e6
    each = megapixels * (RATES.mapped + RATES.map_bytes / RATES.stream) + 0.05 * (1 + sizing.READ_BY_MAPS) / MAP_BLOCK
    assert seconds(planner(work, SAMPLED).on(1), "maps") == [pytest.approx(6400 / 4 * each)]


def test_metrics_are_of_images_with_masks() -> None:
    work, each = lake(400, 4), 112**2 / 1e6 * RATES.measured + 0.05
    for masked in (0, 0.25, 1):
        assert seconds(planner(replace(work, masked=masked)).on(1), "metrics") == [pytest.approx(100 * masked * each)]


def test_the_head_lists_the_lake_and_reads_what_is_known_of_it() -> None:
    first, nightly = planner(lake(10_000), SAMPLED).on(1), planner(Work(200, 10_000, 1, runs=7), SAMPLED).on(1)
    names = ("list the lake", "find stored features", "read earlier runs", "rows of the images")
    listing = 10_000 * RATES.listed + 10 * 0.05
    assert seconds(first, *names) == pytest.approx([listing, 0, 0, 10_000 * RATES.recorded])
    finding = 9800 * RATES.found + sizing.INDEX_PARTS * 0.05 / READERS
    rows = 7 * 10_000 * (RATES.recalled + RATES.recalled_bytes / RATES.stream)
    assert seconds(nightly, *names) == pytest.approx([listing, finding, rows, 200 * RATES.recorded])
    assert seconds(nightly, "find references") == [pytest.approx(finding)]


def test_nodes_cost_from_when_they_are_asked_for() -> None:
    night = planner(Work(200, 10_000, 1, runs=7), SAMPLED).on(3)
    alone = sum(seconds(night, "list the lake", "find stored features", "read earlier runs"))
    assert night.alone == pytest.approx(alone) and night.hours == pytest.approx(night.seconds / 3600)
    assert night.held == pytest.approx(3 * (night.seconds - alone) / 3600)
    assert seconds(night, "nodes come and go") == [600]


def test_requests_and_objects_are_counted() -> None:
    work = Work(images=640, total=640, categories=1)
    units = 1 + 1  # of each pass, which hold all
    puts = 640 / 1000 + 640 / MAP_BLOCK + 2 * 20 + units + sizing.OF_CATEGORY + sizing.OF_RUN
    tokens = 2 * ((640 + 16) * (1 + 2 / 32) + 2 * 16 * 3)
    gets = 640 * (1 + sizing.READ_BY_MAPS / MAP_BLOCK) + 2 * 20 + tokens
    found = planner(work, SAMPLED).on(5).requests
    assert (found.puts, found.gets, found.all) == pytest.approx((puts, gets, puts + gets))
    assert Requests(5, 7).dollars(Prices(put=2, get=3)) == 31
    assert ENCODING.objects(640) == 2 * 20 + 640 / MAP_BLOCK


def test_the_head_is_the_smallest_that_holds_the_lake_and_earlier_rows() -> None:
    work = Work(images=10, total=1000, categories=1, runs=2)
    assert head_bytes(work, replace(RATES, remembered=5e6, recalled_bytes=1e6)) == 7e9
    for each, gb in ((1e6, 16), (8e6, 16), (8.1e6, 32), (16.1e6, 64)):
        assert head_gb(replace(work, runs=0), replace(RATES, remembered=each)) == gb


def test_what_it_takes_of_other_rooms_is_what_they_have() -> None:
    assert MAP_BLOCK == maps.MAP_BLOCK and files.READERS == features.READERS == READERS
    assert sizing.SAMPLED == 2 * scorer.SAMPLE


LINEAR = (
    "decode",
    "encode",
    "write features",
    "maps",
    "near duplicates",
    "thresholds",
    "rows of the images",
    "metrics",
)


@given(st.integers(2, 9), st.integers(1, 3))
def test_what_is_done_for_each_image_grows_with_the_images(times: int, nodes: int) -> None:
    few, many = (planner(replace(lake(768 * of), masked=0.5), SAMPLED).on(nodes) for of in (1, times))
    assert seconds(many, *LINEAR) == pytest.approx([times * of for of in seconds(few, *LINEAR)])


@given(st.integers(17, 3000), st.integers(0, 3000), st.integers(1, 9), st.booleans())
def test_more_images_take_no_less(images: int, more: int, nodes: int, nightly: bool) -> None:
    few, many = (
        planner(Work(of // 10 if nightly else of, of, 1, runs=7 * nightly), SAMPLED) for of in (images, images + more)
    )
    a, b = few.on(nodes), many.on(nodes)
    assert b.seconds >= a.seconds * (1 - 1e-9)
    assert b.requests.puts >= a.requests.puts and b.requests.gets >= a.requests.gets


@given(st.integers(2, 3000), st.integers(1, 9), st.integers(1, 300), st.integers(0, 300))
def test_no_part_takes_longer_on_more_nodes(images: int, categories: int, nodes: int, more: int) -> None:
    plan = planner(lake(images, categories), ReferencesConfig(count=64, limit=100))
    few, many = plan.on(nodes), plan.on(nodes + more)
    assert many.seconds <= few.seconds * (1 + 1e-9) and many.requests == few.requests
    score = ("read features", "neighbourhoods", "products")
    assert sum(seconds(many, *score)) <= sum(seconds(few, *score)) * (1 + 1e-9)
    for name in {part.name for part in few.parts} - set(score):
        assert parts(many)[name].seconds <= parts(few)[name].seconds * (1 + 1e-9), name


@given(st.integers(2, 3000), st.integers(1, 9), st.floats(0.17, 1))
def test_the_fewest_nodes_that_end_in_time_are_taken(images: int, categories: int, hours: float) -> None:
    plan = planner(lake(images, categories), ReferencesConfig(count=64, limit=100))
    found = plan.within(hours)
    assert 1 <= found.nodes <= MOST and (found.hours <= hours or found.nodes == MOST)
    assert found.nodes == 1 or plan.on(found.nodes - 1).hours > hours


def test_where_no_number_of_nodes_does_it_in_time_the_largest_is_planned() -> None:
    found = planner(lake(10**5), SAMPLED).within(0.1)
    assert found.nodes == MOST and found.hours > 0.1
