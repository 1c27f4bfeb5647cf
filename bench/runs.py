"""Runs of this process, for benches that measure whole runs: one Ray for all of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.config import RayConfig, ScoreConfig
from pipeline.engine.cluster import cluster
from pipeline.result import Result
from pipeline.run import score_lake
from pipeline.sample.weights import ENCODER, sample_weights

Settings = dict[str, object]  # groups of settings by name, each a mapping


@dataclass(frozen=True)
class Runs:
    """Runs the job on lakes, by the sample's encoder, below a folder that is removed at the end."""

    output: Path

    def __call__(self, lake: Path, name: str, settings: Settings, run_id: str = "bench") -> Result:
        """Score a lake, with an output of its own for each name: runs of one name share the features."""
        encoder = {"name": ENCODER, "weights": str(sample_weights())}
        given = settings | {
            "input": {"uri": str(lake), **_group(settings, "input")},
            "output": {"uri": str(self.output / name), "run_id": run_id},
            "encoder": encoder | _group(settings, "encoder"),
            "report": {"images": 0},
        }
        return score_lake(ScoreConfig.model_validate(given))


@contextmanager
def runs() -> Iterator[Runs]:
    """Give what runs jobs, within one Ray."""
    with TemporaryDirectory() as folder, cluster(RayConfig()):
        yield Runs(Path(folder))


def seconds(result: Result) -> tuple[float, float]:
    """Return the seconds that a run took to encode its images and to score them."""
    return result.run.seconds["extract"], result.run.seconds["score"]


def percent(result: Result, category: str, name: str) -> float | str:
    """Return a metric in percent, or a dash where there is none."""
    metric = result.metrics[category][name]
    return "-" if metric.value is None else 100 * metric.value


def _group(settings: Settings, name: str) -> dict[str, object]:
    group = settings.get(name, {})
    assert isinstance(group, dict)
    return group
