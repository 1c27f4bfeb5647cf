"""Whole runs on real images against those of the official code."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from pipeline.config import EncoderConfig
from pipeline.encoders import Encoder
from pipeline.images import decode
from pipeline.method import Aggregation, mutual_scores
from pipeline.sample.weights import ENCODER, sample_weights
from pipeline.search import GemmSearch
from tests.running import flags, read_scores, run_job, settings

SETS = {"alien": "aws_l4v", "cookie": "aws_l4v", "ballscrew": "bsdata"}

Golden = Callable[[str], Mapping[str, NDArray[Any]]]


@pytest.mark.timeout(500)
def test_a_run_over_the_three_sets_gives_the_scores_of_the_official_code(
    golden: Golden, shared_data: Path, tmp_path: Path
) -> None:
    done = run_job(*flags(settings(shared_data, tmp_path, encoder__size=224)))
    assert done.returncode == 0, done.stderr
    scores = read_scores(tmp_path).set_index("uri")
    assert len(scores) == 254 and (scores["status"] == "scored").all()
    for name, dataset in SETS.items():
        expected = golden(f"{name}_dinov2s_224.npz")
        rows = scores.loc[[str(shared_data / dataset / path) for path in expected["paths"]]]
        np.testing.assert_allclose(rows["score_raw"], expected["raw"], atol=2e-3)
        np.testing.assert_allclose(rows["score"], expected["rscin"], atol=2e-3)
        assert rows["label"].tolist() == expected["gt"].astype(bool).tolist()
        ours, theirs = (float(roc_auc_score(expected["gt"], s)) for s in (rows["score"], expected["rscin"]))
        assert ours == pytest.approx(theirs, abs=0.002)


def test_patch_scores_and_embeddings_of_a_set_are_those_of_the_official_code(golden: Golden, shared_data: Path) -> None:
    expected = golden("ballscrew_dinov2s_224.npz")
    config = EncoderConfig(name=ENCODER, weights=str(sample_weights()), size=224)
    encoder = Encoder(config)
    files = [(shared_data / "bsdata" / path).read_bytes() for path in expected["paths"]]
    encoded = encoder(np.stack([decode(content, 224, 10**8)[0] for content in files]))
    np.testing.assert_allclose(encoded.embeddings.numpy(), expected["cls"], atol=1e-5)
    stored = encoded.tokens.half()  # as the feature store keeps them
    with torch.inference_mode():
        paper = Aggregation((16, 16), (1, 3, 5))
        layers = [mutual_scores(of_layer, paper, 0.3, GemmSearch()) for of_layer in stored.unbind(1)]
    np.testing.assert_allclose(torch.stack(layers).mean(dim=0).numpy(), expected["patch"], atol=2e-3)
