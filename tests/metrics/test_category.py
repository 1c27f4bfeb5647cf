"""A category's metrics: what they are, and that one that cannot be measured is None with a reason, never 0."""

import math
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import f1_score, recall_score

from pipeline.metrics.category import (
    AUPRO_LIMIT,
    IMAGE,
    PART,
    PIXEL,
    SPRO_LIMIT,
    VERDICT,
    Metric,
    PixelTruth,
    image_metrics,
    mean_metrics,
    no_pixel_metrics,
    part_metrics,
    pixel_metrics,
    streamed_pixel_metrics,
    verdict_metrics,
)
from pipeline.metrics.curves import ranking_metrics
from pipeline.metrics.overlap import Region, aupro, pro_200
from pipeline.metrics.stream import histogram

Array = NDArray[Any]
Variant = Literal["exact", "musc"]


def random_case() -> tuple[Array, Array]:
    """Return maps that know a little of their masks."""
    masks = np.zeros((3, 12, 12), bool)
    masks[0, 2:6, 3:7] = masks[1, 9, 9] = True
    return np.random.default_rng(0).normal(size=masks.shape) + masks, masks


def assert_absent(metrics: dict[str, Metric], names: tuple[str, ...], reason: str) -> None:
    assert metrics == {name: Metric(None, reason) for name in names}


def test_image_metrics_are_named_in_their_order() -> None:
    labels, scores = np.array([False, False, True, True]), np.array([0.1, 0.4, 0.35, 0.8])
    values = {name: Metric(value) for name, value in zip(IMAGE, ranking_metrics(labels, scores), strict=True)}
    assert image_metrics(labels, scores) == values
    assert values["image_auroc"] == Metric(0.75)


@pytest.mark.parametrize("anomalous, word", [(True, "anomalous"), (False, "normal")])
def test_images_of_one_class_have_no_metric_and_say_which_class(anomalous: bool, word: str) -> None:
    metrics = image_metrics(np.full(5, anomalous), np.linspace(0, 1, 5))
    assert_absent(metrics, IMAGE, f"all 5 labelled images are {word}")


def test_verdicts_are_counted_against_labels() -> None:
    labels = np.array([True, True, True, True, False, False, False, False, False])
    flagged = np.array([True, True, True, False, True, False, False, False, False])
    found = verdict_metrics(labels, flagged)
    assert list(found) == list(VERDICT)
    assert [metric.value for metric in found.values()] == [pytest.approx(3 / 4), pytest.approx(3 / 4), 1 / 5]


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40))
def test_verdicts_are_those_of_scikit_learn_and_of_their_order_independent(pairs: list[tuple[bool, bool]]) -> None:
    labels, flagged = (np.array([pair[at] for pair in pairs]) for at in (0, 1))
    found = verdict_metrics(labels, flagged)
    if labels.any():
        assert found["verdict_f1"].value == pytest.approx(f1_score(labels, flagged, zero_division=0))
        assert found["verdict_recall"].value == pytest.approx(recall_score(labels, flagged))
    if not labels.all():
        assert found["verdict_false_alarms"].value == pytest.approx(flagged[~labels].mean())
    order = np.random.default_rng(0).permutation(len(labels))
    assert verdict_metrics(labels[order], flagged[order]) == found


def test_verdicts_that_cannot_be_counted_say_why() -> None:
    nothing = np.zeros(0, bool)
    defects, normal = np.ones(3, bool), np.zeros(3, bool)
    assert {metric.value for metric in verdict_metrics(nothing, nothing).values()} == {None}
    assert verdict_metrics(nothing, nothing)["verdict_f1"].reason == "no labels"
    alone = verdict_metrics(normal, normal)
    assert alone["verdict_false_alarms"] == Metric(0.0)
    assert alone["verdict_f1"] == alone["verdict_recall"] == Metric(None, "no defects among the labelled images")
    found = verdict_metrics(defects, defects)
    assert found["verdict_f1"] == found["verdict_recall"] == Metric(1.0)
    assert found["verdict_false_alarms"] == Metric(None, "no normal labelled images")


def test_parts_have_the_metrics_of_images_by_names_of_their_own() -> None:
    labels, scores = np.array([True, False, False, True]), np.array([1.4, 1.2, 0.3, 0.9])
    found = part_metrics(labels, scores, scores > 1)
    assert tuple(found) == PART
    images = [*image_metrics(labels, scores).values(), *verdict_metrics(labels, scores > 1).values()]
    assert list(found.values()) == images and found["part_verdict_recall"] == Metric(0.5)
    normal = part_metrics(np.zeros(2, bool), scores[:2], scores[:2] > 1)
    assert normal["part_auroc"].reason == "all 2 labelled parts are normal"
    assert normal["part_verdict_f1"].reason == "no defects among the labelled parts"


def test_images_without_labels_have_no_metric() -> None:
    assert_absent(image_metrics(np.zeros(0, bool), np.zeros(0)), IMAGE, "no labels")


def test_pixel_metrics_are_the_four_in_their_order() -> None:
    maps, masks = random_case()
    auroc, f1, ap = ranking_metrics(masks.ravel(), maps.ravel())
    expected = [auroc, f1, ap, aupro(maps, masks, AUPRO_LIMIT)]
    metrics = pixel_metrics(maps, PixelTruth(masks), "exact")
    assert metrics == {name: Metric(value) for name, value in zip(PIXEL, expected, strict=True)}


def test_the_musc_variant_adds_pro_by_200_thresholds_and_nothing_else() -> None:
    maps, masks = random_case()
    metrics = pixel_metrics(maps, PixelTruth(masks), "musc")
    added = {"pixel_pro_200": Metric(pro_200(maps, masks, 0.3))}
    assert metrics == pixel_metrics(maps, PixelTruth(masks), "exact") | added


@pytest.mark.parametrize("variant", ["exact", "musc"])
def test_saturations_add_spro_at_a_rate_of_five_percent(variant: Variant) -> None:
    maps, masks = random_case()
    regions = [Region(0, np.flatnonzero(masks[0]), 4.0), Region(1, np.flatnonzero(masks[1]), 1.0)]
    metrics = pixel_metrics(maps, PixelTruth(masks, regions), variant)
    added = {"pixel_spro_005": Metric(aupro(maps, masks, SPRO_LIMIT, regions))}
    assert metrics == pixel_metrics(maps, PixelTruth(masks), variant) | added


@pytest.mark.parametrize(
    "fill, reason", [(False, "no anomalous pixel in any mask"), (True, "no normal pixel in any mask")]
)
def test_masks_of_one_class_have_no_metric_in_any_variant(fill: bool, reason: str) -> None:
    maps, masks = random_case()[0], np.full((3, 12, 12), fill)
    assert_absent(pixel_metrics(maps, PixelTruth(masks), "exact"), PIXEL, reason)
    assert_absent(pixel_metrics(maps, PixelTruth(masks), "musc"), (*PIXEL, "pixel_pro_200"), reason)
    assert_absent(pixel_metrics(maps, PixelTruth(masks, []), "exact"), (*PIXEL, "pixel_spro_005"), reason)


@pytest.mark.parametrize("regions", [None, [Region(0, np.arange(26, 30), 4.0), Region(1, np.array([117]), 1.0)]])
def test_streamed_metrics_are_the_exact_ones_by_name_within_their_errors(regions: list[Region] | None) -> None:
    maps, masks = random_case()
    maps = 1 / (1 + np.exp(-maps))  # into 0..2
    exact = pixel_metrics(maps, PixelTruth(masks, regions), "exact")
    streamed = streamed_pixel_metrics(histogram(maps, masks, regions, 256), "exact")
    assert list(streamed) == list(exact)
    for name, metric in streamed.items():
        value, known = metric.value, exact[name].value
        assert value is not None and known is not None and metric.error is not None and metric.reason is None
        assert abs(value - known) <= metric.error < 0.05


def test_streamed_metrics_have_no_pro_by_200_thresholds_and_say_why() -> None:
    found = histogram(*random_case())
    metrics = streamed_pixel_metrics(found, "musc")
    expected = streamed_pixel_metrics(found, "exact")
    assert metrics == expected | {"pixel_pro_200": Metric(None, "its 200 thresholds need all maps at once")}


@pytest.mark.parametrize(
    "fill, reason", [(False, "no anomalous pixel in any mask"), (True, "no normal pixel in any mask")]
)
def test_streamed_masks_of_one_class_have_no_metric(fill: bool, reason: str) -> None:
    maps, masks = random_case()[0], np.full((3, 12, 12), fill)
    assert_absent(streamed_pixel_metrics(histogram(maps, masks), "musc"), (*PIXEL, "pixel_pro_200"), reason)
    assert_absent(streamed_pixel_metrics(histogram(maps, masks, []), "exact"), (*PIXEL, "pixel_spro_005"), reason)


def test_a_category_without_masks_has_all_pixel_metrics_with_the_reason() -> None:
    assert_absent(no_pixel_metrics("no masks"), PIXEL, "no masks")


# The same image many times gives flat maps; a map that is saturated in half of its pixels leaves no threshold of the
# 200 below the limit.
@pytest.mark.parametrize("variant", ["exact", "musc"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_maps_of_few_levels_give_values_or_reasons_but_no_error_and_no_nan(variant: Variant, share: float) -> None:
    masks = random_case()[1]
    maps = (np.random.default_rng(0).random(masks.shape) < share).astype(float)
    for metric in pixel_metrics(maps, PixelTruth(masks), variant).values():
        assert metric.reason if metric.value is None else math.isfinite(metric.value)


def test_a_mean_is_over_the_categories_that_have_the_metric() -> None:
    categories = [
        {"a": Metric(0.5), "b": Metric(None, "no labels"), "c": Metric(None, "no masks")},
        {"a": Metric(1.0), "b": Metric(0.25), "c": Metric(None, "no masks")},
        {"a": Metric(0.0), "d": Metric(0.75)},
    ]
    expected = {"a": Metric(0.5), "b": Metric(0.25), "c": Metric(None, "in no category"), "d": Metric(0.75)}
    assert mean_metrics(categories) == expected


def test_a_mean_over_no_category_is_empty() -> None:
    assert mean_metrics([]) == {}


def test_a_mean_is_as_far_off_as_its_categories_on_average() -> None:
    categories = [
        {"a": Metric(0.5, error=0.25), "b": Metric(0.5, error=0.25)},
        {"a": Metric(1.0), "b": Metric(None, "no masks")},
    ]
    assert mean_metrics(categories) == {"a": Metric(0.75, error=0.125), "b": Metric(0.5, error=0.25)}
