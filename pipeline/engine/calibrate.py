"""Before a run starts: which way of computing its workers use, how fast they are, and what the run will cost."""

import hashlib
import json
import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import ray
from pydantic import PositiveFloat, TypeAdapter

from pipeline.config import ReferencesConfig, ScoreConfig, SearchConfig
from pipeline.engine.cluster import RETRIES, Pool
from pipeline.io.json_file import read_json
from pipeline.io.storage import Location
from pipeline.plan.cost import Cost, Rates, refuse_quadratic
from pipeline.plan.units import UNIT_MEMORY, Unit
from pipeline.scoring.scorer import Layer, Scorer, Tuning, make_scorer
from pipeline.store.run_folder import write_json

log = logging.getLogger(__name__)

WORTH_MEASURING = 1e13  # multiply-adds of a run: some minutes of one CPU core
PROBE_BYTES = 32 << 20
READ = 2e8  # bytes a second from storage, where it was not measured
OF_A_GPU = 0.7  # of its memory: the rest is for CUDA, its libraries, and what the allocator cannot join


@dataclass(frozen=True)
class Estimate:
    """What scoring will cost, and the seconds that the workers of a pool will take."""

    cost: Cost
    seconds: float
    workers: int

    def __str__(self) -> str:
        hours = self.seconds / 3600
        time = f"{self.seconds:.0f} s" if hours < 0.1 else f"{hours:.1f} h"
        return (
            f"{self.cost.products:.2g} multiply-adds, {self.cost.read / 1e9:.3g} GB read, "
            f"about {time} on {self.workers} workers"
        )


@dataclass(frozen=True)
class Answer:
    """What is kept of measuring: the question, the search that was taken, and bytes read in a second."""

    question: dict[str, Any]
    tuning: Tuning
    read: PositiveFloat


_ANSWER = TypeAdapter(Answer)


def estimate(
    units: Iterable[Unit], scorer: Scorer, config: ScoreConfig, layer: Layer, workers: Pool, output: Location
) -> tuple[Estimate, Tuning]:
    """Say what a run's units will cost, by what one worker of the pool was measured to do.

    A short run is not worth the measuring. What was measured is kept below the output: the next run of the same shape
    uses the same search, and gives the same bytes.
    """
    cost = sum(map(scorer.cost, units), Cost())
    tuning, read = scorer.untuned(workers.device), READ
    if cost.products >= WORTH_MEASURING:
        tuning, read = _measured(scorer, config, layer, workers, output)
    rates = Rates(tuning.products, tuning.aggregated, read)
    return Estimate(cost, rates.seconds(cost) / workers.max, workers.max), tuning


def memory_of(search: SearchConfig, workers: Pool) -> float:
    """Return the bytes that a worker of a pool may hold: what the settings say, or what its device has room for."""
    if search.memory_gb != "auto":
        return float(search.memory_gb) * 1e9
    if workers.device == "cpu":
        return UNIT_MEMORY
    remote = ray.remote(gpu_memory).options(num_cpus=0, num_gpus=workers.gpus, max_retries=RETRIES)
    found: int = ray.get(remote.remote())
    log.info("search   a worker's GPU has %.3g GB", found / 1e9)
    return OF_A_GPU * min(1, workers.gpus) * found


def gpu_memory() -> int:
    """Return the bytes of this worker's GPU."""
    import torch

    return int(torch.cuda.get_device_properties(0).total_memory)


def announce(found: Estimate, config: ReferencesConfig, totals: Mapping[str, int]) -> None:
    """Log the estimate; raise `ConfigError` when it is of a quadratic run that nobody asked for."""
    refuse_quadratic(config, totals, str(found))
    log.info("plan     %s", found)


def _measured(
    scorer: Scorer, config: ScoreConfig, layer: Layer, workers: Pool, output: Location
) -> tuple[Tuning, float]:
    question = scorer.question() | {"device": workers.device, "cpus": workers.cpus, "torch": version("torch")}
    name = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:16]
    kept = output / "calibration" / f"{name}.json"
    answer = read_json(kept, _ANSWER, "measuring again")
    if answer is None or answer.question != question:
        log.info("measuring the search on a worker")
        remote = ray.remote(measure).options(
            num_cpus=0 if workers.gpus else workers.cpus, num_gpus=workers.gpus or None, max_retries=RETRIES
        )
        probe = output / "calibration" / f"{name}.probe"
        tuning, read = ray.get(remote.remote(config, layer, workers.device, workers.cpus, probe))
        answer = Answer(question, tuning, read)
        write_json(kept, asdict(answer))
    return answer.tuning, answer.read


def measure(config: ScoreConfig, layer: Layer, device: str, threads: int, probe: Location) -> tuple[Tuning, float]:
    """Time the ways of computing on this worker, and reading from the storage, in bytes a second."""
    import torch

    torch.set_num_threads(threads)
    with torch.inference_mode():
        tuning = make_scorer(config, layer).tune(device)
    probe.write_bytes(np.random.default_rng(0).bytes(PROBE_BYTES))
    start = time.perf_counter()
    probe.read_bytes()
    seconds = time.perf_counter() - start
    probe.remove()
    return tuning, PROBE_BYTES / seconds
