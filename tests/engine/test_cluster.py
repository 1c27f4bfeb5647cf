"""Which Ray a run works on."""

import pytest
import ray

from pipeline.config import RayConfig
from pipeline.engine.cluster import cluster
from pipeline.errors import ConfigError


def test_the_ray_of_this_process_is_taken_and_left_as_it_was(ray_here: None) -> None:
    node = ray.get_runtime_context().get_node_id()
    with cluster(RayConfig()):
        assert ray.get_runtime_context().get_node_id() == node
    assert ray.is_initialized()


def test_another_cluster_cannot_be_joined_from_a_process_that_has_one(ray_here: None) -> None:
    with (
        pytest.raises(ConfigError, match="the Ray cluster at 127.0.0.1:1 cannot be used"),
        cluster(RayConfig(address="127.0.0.1:1")),
    ):
        pass
    assert ray.is_initialized()


def test_a_ray_that_is_not_up_in_its_time_is_started_once_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    errors = [Exception("The current node timed out during startup. This could happen because ..."), None]
    monkeypatch.setattr(ray, "init", lambda **_: _raise(errors.pop(0)))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with cluster(RayConfig(address="any")):
        assert errors == [] and "once more" in caplog.text
    errors = [RuntimeError("no such cluster")]
    with pytest.raises(ConfigError, match="no such cluster"), cluster(RayConfig(address="any")):
        pass


def _raise(error: Exception | None) -> None:
    if error:
        raise error
