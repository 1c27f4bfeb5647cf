"""A whole run on real images against what the official code computed."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

import pipeline
from pipeline.result import Result
from pipeline.run import score_lake
from pipeline.sample.weights import ENCODER, sample_weights
from pipeline.scoring.maps import anomaly_maps
from pipeline.views import View
from tests.conftest import beside
from tests.running import flags, parse, settings, stored

SETS = {"alien": "aws_l4v", "cookie": "aws_l4v", "ballscrew": "bsdata"}

Golden = Callable[[str], Mapping[str, NDArray[Any]]]


@pytest.fixture(scope="module")
def result(ray_here: None, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """One run over the three sets."""
    real = {"encoder.name": ENCODER, "encoder.weights": str(sample_weights()), "encoder.size": 224}
    workers = {"ray.encode.max": 2, "ray.score.max": 2, "method.preset": "paper"}
    return score_lake(parse(flags(settings(beside("data"), tmp_path_factory.mktemp("sets")) | real | workers)))


def rows_of(result: Result, name: str, paths: NDArray[Any]) -> pd.DataFrame:
    """Return the rows of a set's images in the order of the official arrays."""
    uris = [str(beside("data") / SETS[name] / path) for path in paths]
    scores: pd.DataFrame = result.scores.to_pandas()
    return scores.set_index("uri", drop=False).loc[uris]


def test_the_sets_are_three_categories_of_which_every_image_is_scored(result: Result) -> None:
    counts = result.run.counts
    assert (counts.images, counts.scored) == (254, 254)
    assert len(result.scores["category"].unique()) == 3


@pytest.mark.parametrize("name", SETS)
def test_scores_are_those_of_the_official_code(name: str, golden: Golden, result: Result) -> None:
    expected = golden(f"{name}_dinov2s_224.npz")
    rows = rows_of(result, name, expected["paths"])
    np.testing.assert_allclose(rows["score_raw"], expected["raw"], atol=2e-3)
    np.testing.assert_allclose(rows["score_final"], expected["rscin"], atol=2e-3)
    assert rows["label"].tolist() == expected["gt"].astype(bool).tolist()
    ours, theirs = (float(roc_auc_score(expected["gt"], s)) for s in (rows["score_final"], expected["rscin"]))
    assert ours == pytest.approx(theirs, abs=0.002)


@pytest.mark.parametrize("name", SETS)
def test_maps_are_those_of_the_official_codes_patch_scores(name: str, golden: Golden, result: Result) -> None:
    expected = golden(f"{name}_dinov2s_224.npz")
    run = pipeline.open_run(result.folder.output.uri, "test")
    maps = anomaly_maps(torch.from_numpy(expected["patch"]), View((224, 224), (16, 16))).numpy()
    for uri, anomaly_map in zip(rows_of(result, name, expected["paths"])["uri"], maps, strict=True):
        np.testing.assert_allclose(run.map(uri), anomaly_map, rtol=0, atol=2e-3, err_msg=uri)


@pytest.mark.parametrize("name", SETS)
def test_embeddings_are_those_of_the_official_code(name: str, golden: Golden, result: Result) -> None:
    expected = golden(f"{name}_dinov2s_224.npz")
    store, places = stored(result, rows_of(result, name, expected["paths"]))
    np.testing.assert_allclose(store.embeddings(places), expected["cls"], atol=1e-5)
