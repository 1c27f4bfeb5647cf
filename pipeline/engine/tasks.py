"""Stages on a Ray cluster: blocks to workers, rows back.

Without GPUs a stage runs as plain tasks. Ray keeps the processes that ran them, so that what one stage imported, the
next has already; a process holds the stages of one execution at a time, set up once. Workers with GPUs are actors of
a pool of Ray Data, which keeps a model on its GPU.
"""

import logging
import re
import secrets
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import RayError

from pipeline import errors
from pipeline.engine.cluster import RETRIES, Pool
from pipeline.engine.telemetry import count_traffic, observe_unit, show_progress
from pipeline.errors import LakeScoreError
from pipeline.progress import Progress
from pipeline.schema.tables import SCORED
from pipeline.stage import Stage

# Of calls to an actor that lives as far as Ray knows: it takes some seconds to notice that a node is gone, and spends a
# retry on every try until then. What kills its actor ends with the restarts.
CALLS = 100
AHEAD = 2  # blocks for each worker that wait for it: made by the stage before, or to be made by this one

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OnRay:
    """A runner on the cluster, on workers of a pool. The stage `before`, on one CPU each, does each block first."""

    pool: Pool
    before: Stage | None = None

    def progress(self, stage: str, what: str, total: int, already: int = 0) -> Progress:
        return Progress(stage, what, total, already, show_progress, self._at_work)

    def _at_work(self) -> str:
        """Say what of the cluster is at work, whoever's work it is, of the kind that the workers hold."""
        kind, each = ("GPU", self.pool.gpus) if self.pool.gpus else ("CPU", self.pool.cpus)
        try:
            there: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]  # Ray has no types here
            free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]  # nor here
        except Exception:  # of many types; where Ray is gone, the run is told in another place
            return "it is not known who works"
        total = there.get(kind, 0)
        used = total - free.get(kind, 0)
        if total < each:
            return f"no worker yet: the cluster has {total:g} {kind}s, a worker needs {each:g}"
        return f"{used:g} of {total:g} {kind}s at work" if used else f"no worker yet, {total:g} {kind}s are there"

    def __call__(self, stage: Stage, blocks: Sequence[pa.Table], progress: Progress) -> pa.Table:
        """Run a stage; a column `node` of what it returns has the id of the node that made each row.

        Raises `LakeScoreError` when a worker failed more often than it is retried, with the worker's own message if it
        is one of ours.
        """
        tables = []
        try:
            for table in (self._on_actors if self.pool.gpus else self._on_tasks)(stage, blocks, progress):
                progress.add(sum(table["count"].to_pylist()))
                _say_units(table)
                tables.append(table.drop_columns("count"))
        except RayError as error:
            raise own_error(error) from error
        return pa.concat_tables(tables)

    def _on_tasks(self, stage: Stage, blocks: Sequence[pa.Table], progress: Progress) -> Iterator[pa.Table]:
        execution = secrets.token_hex(8)
        work = ray.remote(_work).options(name=_name(stage), num_cpus=self.pool.cpus, max_retries=RETRIES)
        prepare = ray.remote(_work).options(name=_name(self.before), num_cpus=1, max_retries=RETRIES)
        waiting, ready = deque(blocks), deque[pa.Table | ray.ObjectRef[pa.Table]]()
        preparing, working = set[ray.ObjectRef[pa.Table]](), set[ray.ObjectRef[pa.Table]]()
        ahead = AHEAD * self.pool.max
        try:
            while waiting or ready or preparing or working:
                while waiting and len(ready) + len(preparing) < ahead:
                    block = waiting.popleft()
                    if self.before is None:
                        ready.append(block)
                    else:
                        preparing.add(prepare.remote(execution, 0, self.before, block, 1, progress.stage))
                while ready and len(working) < self.pool.max:
                    made = ready.popleft()
                    working.add(work.remote(execution, 1, stage, made, self.pool.cpus, progress.stage))
                done, _ = ray.wait([*preparing, *working], num_returns=1, fetch_local=False)
                for reference in done:
                    if reference in preparing:
                        preparing.remove(reference)
                        ready.append(reference)
                    else:
                        working.remove(reference)
                        yield ray.get(reference)
        finally:  # after an error nobody wants the rest
            for reference in preparing | working:
                # Its process, too: interrupted as it imports torch, it would never do so again
                ray.cancel(reference, force=True)

    def _on_actors(self, stage: Stage, blocks: Sequence[pa.Table], progress: Progress) -> Iterator[pa.Table]:
        import ray.data  # three seconds that a run without GPUs need not wait

        pool, before = self.pool, self.before
        dataset: ray.data.Dataset = ray.data.from_arrow(list(blocks))
        with warnings.catch_warnings(), _quiet():
            # Ray 2.60 announces the end of these keywords for 2.64, and has nothing yet to put in their place
            warnings.simplefilter("ignore", ray.util.annotations.RayDeprecationWarning)
            if before is not None:
                dataset = dataset.map_batches(
                    _Before(before), batch_size=None, batch_format="pyarrow", num_cpus=1, max_retries=RETRIES
                )
            # `map_batches` itself, which refuses GPUs without a number of rows: our batches are our blocks
            dataset = dataset.map_batches_internal(
                _Actor,
                batch_size=None,
                batch_format="pyarrow",
                fn_constructor_args=(stage, pool.device, pool.cpus, progress.stage),
                compute=ray.data.ActorPoolStrategy(size=min(pool.max, len(blocks))),
                num_cpus=0,
                num_gpus=pool.gpus,
                max_restarts=RETRIES,
                max_task_retries=CALLS,
            )
            for table in dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                assert isinstance(table, pa.Table), "as was asked for"
                yield table


class _Actor:
    """A stage on a worker of a pool."""

    def __init__(self, stage: Stage, device: str, threads: int, name: str) -> None:
        stage.setup(device, threads)
        self._stage, self._name = stage, name

    def __call__(self, block: pa.Table) -> pa.Table:
        return _done(self._stage, block, self._name)


@dataclass(frozen=True)
class _Before:
    """A stage on the way to a pool, set up for each block: it has nothing to load that a process does not keep."""

    stage: Stage

    def __call__(self, block: Any) -> pa.Table:  # Ray Data has batches of several kinds
        self.stage.setup("cpu", 1)
        return _done(self.stage, block, "")


def _name(stage: Stage | None) -> str:
    """Return what lists of processes and Ray's dashboard call the work of a stage."""
    return type(stage).__name__


_execution = ""  # whose stages this process has ready
_stages: dict[int, Stage] = {}


def _work(execution: str, place: int, stage: Stage, block: pa.Table, threads: int, name: str) -> pa.Table:
    """Do one block in this process, with the stage that it has ready if it is of the same execution."""
    global _execution
    if execution != _execution:
        _stages.clear()
        _execution = execution
    if place not in _stages:
        stage.setup("cpu", threads)
        _stages[place] = stage
    return _done(_stages[place], block, name)


def _done(stage: Stage, block: pa.Table, name: str) -> pa.Table:
    """Return what a stage makes of a block, with the node where it was counted as done."""
    table = stage(block)
    if _is_of_units(table):
        for seconds in table["seconds"].to_pylist():
            observe_unit(seconds)
    count_traffic()
    if "count" not in table.column_names:  # of a stage that prepares blocks for another one
        return table
    node = str(ray.get_runtime_context().get_node_id())
    return table.append_column("node", pa.array([node] * table.num_rows, pa.string()))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Ray Data from showing lines of its own, and leave its settings as they were."""
    context, shown = ray.data.DataContext.get_current(), logging.getLogger("ray.data")
    before = context.enable_progress_bars, context.print_on_execution_start, shown.level
    context.enable_progress_bars = context.print_on_execution_start = False
    shown.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        context.enable_progress_bars, context.print_on_execution_start = before[:2]
        shown.setLevel(before[2])


def _say_units(table: pa.Table) -> None:
    """Log each unit of work that is done, for machines."""
    if _is_of_units(table):
        for row in table.select(["id", "seconds", "node"]).to_pylist():
            log.debug("done %s", row["id"], extra={"unit": row["id"], "seconds": row["seconds"], "node": row["node"]})


def _is_of_units(table: pa.Table) -> bool:
    return set(SCORED.names) <= set(table.column_names)


def own_error(error: RayError) -> LakeScoreError:
    """Find our own error under Ray's wrappers, or make one of what they say."""
    # Ray Data keeps of a worker's exception its traceback only, as text
    for name, message in reversed(re.findall(r"^pipeline\.errors\.(\w+): (.+)", str(error), re.MULTILINE)):
        kind = getattr(errors, name, None)  # the text holds names of files, which may look like anything
        if isinstance(kind, type) and issubclass(kind, LakeScoreError):
            return kind(message)
    lines = [line for line in str(error).splitlines() if re.match(r"(?!ray\.)[\w.]+(Error|Exception)\b", line)]
    return LakeScoreError(f"a worker failed: {(lines or [str(error)])[0]}")  # the cause stands above what it caused
