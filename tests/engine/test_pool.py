"""How many workers a stage gets; tests/cluster has them do work."""

import pytest
import ray

from pipeline.config import PoolConfig
from pipeline.engine.cluster import Pool, pool


@pytest.mark.parametrize(
    ("config", "resources", "expected"),
    [
        ({}, {"CPU": 8}, Pool(4, 1, 0)),
        ({}, {"CPU": 2}, Pool(2, 1, 0)),  # one decodes while another encodes
        ({}, {}, Pool(1, 1, 0)),  # a cluster that is still to grow
        ({"cpus": 2, "max": 3}, {"CPU": 8}, Pool(3, 2, 0)),
        ({"min": 3}, {"CPU": 2}, Pool(3, 1, 0)),
        # All that may ever be there are asked for at once: a pool of GPUs would not make the cluster grow by itself
        ({}, {"CPU": 8, "GPU": 2}, Pool(2, 1, 1)),
        ({"gpus": 0.5}, {"CPU": 8, "GPU": 2}, Pool(4, 1, 0.5)),
        ({"gpus": 1, "max": 5}, {}, Pool(5, 1, 1)),
        ({"gpus": 1, "min": 2, "max": 5}, {"GPU": 1}, Pool(5, 1, 1)),
        ({"gpus": 0}, {"CPU": 4, "GPU": 8}, Pool(2, 1, 0)),
    ],
    ids=str,
)
def test_a_pool_is_settled_by_what_the_cluster_has_and_may_become(
    config: dict[str, float], resources: dict[str, float], expected: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: resources)
    found = pool(PoolConfig.model_validate(config))
    assert found == expected
    assert found.device == ("cuda" if expected.gpus else "cpu")
