"""Evidence: the distances behind a patch's score, and where they were found."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.scoring.musc.lnamd import Aggregation
from pipeline.scoring.musc.mutual import interval_average, mutual_scores, query_scores
from pipeline.scoring.nearest import compare
from pipeline.scoring.scorer import Matches
from pipeline.scoring.search.gemm import GemmSearch

GRID = (3, 4)
IMAGES, PATCHES, WIDTH = 11, 12, 16


def tokens(seed: int, images: int = IMAGES) -> Tensor:
    return torch.randn((images, PATCHES, WIDTH), generator=torch.Generator().manual_seed(seed))


def evidence_of(queries: list[Tensor], references: list[Tensor], patch: int, step: int, *degrees: int) -> Matches:
    """Compare one patch of each query image with all references; a layer is an item of the lists."""
    aggregation = Aggregation(GRID, degrees)

    def blocks() -> Iterator[Iterator[Tensor]]:
        for start in range(0, len(references[0]), step):
            yield (vectors for layer in references for vectors in aggregation(layer[start : start + step]))

    return compare([vectors[:, patch] for layer in queries for vectors in aggregation(layer)], blocks())


@pytest.mark.parametrize("step", [1, 4, 11])
@pytest.mark.parametrize("degree", [1, 3])
def test_the_mean_of_the_lowest_share_is_the_patchs_score(degree: int, step: int) -> None:
    images = tokens(0)
    scores = mutual_scores(images, Aggregation(GRID, [degree]), 0.3, GemmSearch())
    found = evidence_of([images], [images], 5, step, degree)
    means = interval_average(torch.from_numpy(found.distances)[:, None], torch.arange(IMAGES), 0.3)[:, 0]  # of 3 images
    torch.testing.assert_close(means, scores[:, 5], rtol=0, atol=1e-5)


def test_with_several_layers_and_degrees_it_is_the_score_or_more() -> None:
    layers, others = [tokens(0, 4), tokens(1, 4)], [tokens(2), tokens(3)]
    found = evidence_of(layers, others, 7, 3, 1, 3, 5)
    means = interval_average(torch.from_numpy(found.distances)[:, None], torch.full((4,), -1), 0.3)[:, 0]
    aggregation, nobody = Aggregation(GRID, [1, 3, 5]), torch.full((4,), -1)
    scores = [
        query_scores(query, nobody, [[other]], IMAGES, IMAGES, aggregation, 0.3, GemmSearch()).scores[:, 7]
        for query, other in zip(layers, others, strict=True)
    ]
    more = means - torch.stack(scores).mean(dim=0)
    assert (more > 1e-4).all() and (more < 0.2 * means).all()


def test_a_patch_that_is_there_twice_is_found_at_its_place() -> None:
    images = tokens(0)
    twin = images[2, torch.randperm(PATCHES, generator=torch.Generator().manual_seed(1))]  # all patches, elsewhere
    references = torch.cat([tokens(1, 6), twin[None], tokens(2, 3)])
    found = evidence_of([images[2:3]], [references], 5, 4, 1)
    [place] = (twin == images[2, 5]).all(dim=1).nonzero().flatten().tolist()
    assert place != 5
    first, second, third = found.nearest(0, 3)
    assert first[:2] == (6, place) and first[2] < 1e-6
    assert 0.1 < second[2] < third[2]


def test_images_that_do_not_count_are_never_evidence() -> None:
    distances = np.array([[0.5, np.inf, 0.1, 0.5, np.inf]], np.float32)
    found = Matches(distances, np.arange(5)[None])
    assert [image for image, _, _ in found.nearest(0, 9)] == [2, 0, 3]  # of equal ones the first
    [(image, patch, distance)] = found.nearest(0, 1)
    assert (image, patch) == (2, 2) and distance == pytest.approx(0.1)
