"""The power fails when a run is published: what the disk holds then is the whole run, or no run.

The output lies on an ext4 in a file. A copy of that file is what a disk would hold after a power cut: what is still in
the memory of the system is not in it.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.io.storage import Location
from pipeline.report.stored_map import map_at
from pipeline.result import read_result
from pipeline.run import score_lake
from pipeline.store.features import check_block
from pipeline.store.run_folder import RunFolder
from tests.conftest import PlainRun, not_run
from tests.running import flags, parse, settings

SIZE = 96 << 20


@contextmanager
def mounted(disk: Path, folder: Path) -> Iterator[Path]:
    folder.mkdir()
    done = subprocess.run(["mount", "-o", "loop", disk, folder], capture_output=True, text=True, check=False)
    if done.returncode:
        not_run(f"no file system in a file can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """An empty ext4 in a file."""
    if os.geteuid() or not (tool := shutil.which("mkfs.ext4", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")):
        not_run("only root can mount a file system, and mkfs.ext4 makes it")
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(SIZE)
    subprocess.run([tool, "-q", path], check=True)
    return path


def test_a_published_run_is_on_the_disk_as_soon_as_run_json_is(
    disk: Path, plain_run: PlainRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = Location.create

    def cut(self: Location, content: bytes) -> bool:
        created = create(self, content)
        if self.path.endswith("/run.json"):
            shutil.copy(disk, tmp_path / "cut")
        return created

    monkeypatch.setattr(Location, "create", cut)
    with mounted(disk, tmp_path / "output") as output:
        score_lake(parse([*flags(settings(plain_run.lake, output)), "--report.images=3"]))
    with mounted(tmp_path / "cut", tmp_path / "after") as output:
        folder = RunFolder(Location.parse(str(output)), "test")
        result = read_result(folder)  # held to the checksums of run.json
        assert result.scores["score_raw"].to_pylist() == plain_run.scores["score_raw"].tolist()
        for what in result.run.files:
            listed = result.published.location(what).entry().size
            assert listed == result.run.files[what].size
        for path in result.scores["map_uri"].to_pylist():
            map_at(folder.output / path, result.run.map_scale)
        page = Path(folder.report.path)
        assert all(file.stat().st_size for file in page.rglob("*") if file.is_file())
        assert len(list(page.rglob("*.webp"))) > 3
        store = folder.features / result.run.encoder.fingerprint
        blocks = [entry.path for entry in (store / "images").files()]
        assert len(blocks) == 2 and sum(len(check_block(store, block)) for block in blocks) == 24
