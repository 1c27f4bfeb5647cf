"""Stages on real workers: blocks in, rows out, whichever way they are run, and what goes wrong there."""

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pytest
import ray

from pipeline.engine.cluster import Pool
from pipeline.engine.tasks import OnRay
from pipeline.errors import LakeScoreError, StorageError

BLOCKS = [pa.table({"n": [n, n + 10]}) for n in range(6)]


@dataclass
class Tenfold:
    """Stands before another stage."""

    def setup(self, device: str, threads: int) -> None: ...

    def __call__(self, block: pa.Table) -> pa.Table:
        return pa.table({"n": [10 * n for n in block["n"].to_pylist()]})


@dataclass
class Add:
    """Adds one to each number, and notes in a folder which processes were set up."""

    folder: str
    trouble: str = ""
    _one: int = field(default=0, init=False)

    def setup(self, device: str, threads: int) -> None:
        with (Path(self.folder) / str(os.getpid())).open("a") as file:
            file.write(f"{device} {threads}\n")
        self._one = 1

    def __call__(self, block: pa.Table) -> pa.Table:
        numbers = block["n"].to_pylist()
        if self.trouble == "ours":
            raise StorageError("cannot read [1] of\nit")
        if self.trouble == "another":
            raise ZeroDivisionError("by zero")
        if self.trouble == "death":
            os._exit(1)
        return pa.table({"n": [n + self._one for n in numbers], "count": [1] * len(numbers)})


@dataclass
class Half:
    """Fails in one worker while the other one is being set up, which notes in a folder if it is interrupted."""

    folder: str

    def setup(self, device: str, threads: int) -> None:
        try:
            (Path(self.folder) / f"begun-{os.getpid()}").touch()
            while len(list(Path(self.folder).glob("begun-*"))) < 2:
                threading.Event().wait(0.01)
            if min(Path(self.folder).glob("begun-*")).name != f"begun-{os.getpid()}":
                threading.Event().wait(20)
        except BaseException:
            (Path(self.folder) / f"interrupted-{os.getpid()}").touch()
            raise

    def __call__(self, block: pa.Table) -> pa.Table:
        raise StorageError("as it is meant to be")


def actors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a pool without GPUs run as one with them."""
    monkeypatch.setattr(OnRay, "_on_tasks", OnRay._on_actors)


@pytest.mark.parametrize("on_actors", [False, True])
@pytest.mark.parametrize("before", [None, Tenfold()])
def test_all_rows_come_back_and_a_worker_is_set_up_once(
    ray_here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_actors: bool, before: Tenfold | None
) -> None:
    if on_actors:
        actors(monkeypatch)
    runner = OnRay(Pool(2, 1, 0), before)
    with runner.progress("add", "numbers", 12) as progress:
        found = runner(Add(str(tmp_path)), BLOCKS, progress)
        assert progress._done == 12
    times = 10 if before else 1
    assert sorted(found["n"].to_pylist()) == sorted(times * n + 1 for block in BLOCKS for n in block["n"].to_pylist())
    assert found.column_names == ["n", "node"] and len(set(found["node"].to_pylist())) == 1
    assert {file.read_text() for file in tmp_path.iterdir()} == {"cpu 1\n"}
    assert 1 <= len(list(tmp_path.iterdir())) <= 2


@pytest.mark.parametrize("on_actors", [False, True])
@pytest.mark.parametrize(
    ("trouble", "kind", "said"),
    [
        ("ours", StorageError, r"cannot read \[1\] of"),
        ("another", LakeScoreError, "a worker failed: ZeroDivisionError: by zero"),
    ],
)
def test_what_a_worker_raises_is_raised_here(
    ray_here: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    on_actors: bool,
    trouble: str,
    kind: type[Exception],
    said: str,
) -> None:
    if on_actors:
        actors(monkeypatch)
    runner = OnRay(Pool(1, 1, 0))
    with pytest.raises(kind, match=said), runner.progress("add", "numbers", 12) as progress:
        runner(Add(str(tmp_path), trouble), BLOCKS[:2], progress)


def test_a_block_that_kills_its_worker_ends_the_run_after_some_tries(ray_here: None, tmp_path: Path) -> None:
    runner = OnRay(Pool(1, 1, 0))
    with pytest.raises(LakeScoreError, match="a worker failed"), runner.progress("add", "numbers", 2) as progress:
        runner(Add(str(tmp_path), "death"), BLOCKS[:1], progress)
    assert len(list(tmp_path.iterdir())) == 3  # the first try, and two more


def test_a_process_has_the_stages_of_one_execution_only(ray_here: None, tmp_path: Path) -> None:
    runner = OnRay(Pool(1, 1, 0))
    for _ in range(2):
        with runner.progress("add", "numbers", 4) as progress:
            runner(Add(str(tmp_path)), BLOCKS[:2], progress)
    assert sum(len(file.read_text().splitlines()) for file in tmp_path.iterdir()) >= 2


@pytest.mark.parametrize(
    ("pool", "there", "free", "said"),
    [
        (Pool(2, 1, 0), {}, {}, "no worker yet: the cluster has 0 CPUs, a worker needs 1"),
        (Pool(2, 1, 1), {"CPU": 4}, {"CPU": 4}, "no worker yet: the cluster has 0 GPUs, a worker needs 1"),
        (Pool(2, 1, 0), {"CPU": 4}, {"CPU": 4}, "no worker yet, 4 CPUs are there"),
        (Pool(2, 1, 0), {"CPU": 4}, {"CPU": 1}, "3 of 4 CPUs at work"),
        (Pool(2, 1, 0.5), {"GPU": 2}, {"GPU": 1.5}, "0.5 of 2 GPUs at work"),
        (Pool(2, 1, 1), {"GPU": 2}, {}, "2 of 2 GPUs at work"),
    ],
)
def test_a_stage_that_waits_says_who_works(
    pool: Pool, there: dict[str, float], free: dict[str, float], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: there)
    monkeypatch.setattr(ray, "available_resources", lambda: free)
    assert OnRay(pool)._at_work() == said


def test_a_worker_that_is_stopped_half_way_is_not_used_again(ray_here: None, tmp_path: Path) -> None:
    """Interrupted while it imports torch, a process can do nothing with it any more."""
    runner = OnRay(Pool(2, 1, 0))
    with pytest.raises(StorageError), runner.progress("half", "numbers", 4) as progress:
        runner(Half(str(tmp_path)), BLOCKS[:2], progress)
    again = tmp_path / "again"
    again.mkdir()
    with runner.progress("add", "numbers", 12) as progress:
        runner(Add(str(again)), BLOCKS, progress)
    begun = {file.name.partition("-")[2] for file in tmp_path.glob("begun-*")}
    assert len(begun) == 2 and not list(tmp_path.glob("interrupted-*"))
    assert max(begun) not in {file.name for file in again.iterdir()}
