"""Which Ray a run works on."""

import pytest
import ray
from ray.data import DataContext

from pipeline.config import RayConfig
from pipeline.errors import ConfigError
from pipeline.stages.cluster import cluster


def test_the_ray_of_this_process_is_taken_and_left_as_it_was(ray_here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    node, context = ray.get_runtime_context().get_node_id(), DataContext.get_current()
    monkeypatch.setattr(context, "enable_progress_bars", True)
    with cluster(RayConfig()):
        assert ray.get_runtime_context().get_node_id() == node
        assert not context.enable_progress_bars  # a run has lines of its own
    assert ray.is_initialized() and context.enable_progress_bars


def test_another_cluster_cannot_be_joined_from_a_process_that_has_one(ray_here: None) -> None:
    with (
        pytest.raises(ConfigError, match="the Ray cluster at 127.0.0.1:1 cannot be used"),
        cluster(RayConfig(address="127.0.0.1:1")),
    ):
        pass
    assert ray.is_initialized()
