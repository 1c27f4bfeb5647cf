"""The embedded sample, as `make score` runs it, and what the README says of it."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score

from pipeline.io.storage import Location
from pipeline.sample.lake import write_sample
from tests.running import REPOSITORY, read_scores, run_job, run_job_here

README = (REPOSITORY / "README.md").read_text()


@dataclass(frozen=True)
class SampleRun:
    """A folder in which out/sample was made and scored, and what the job printed."""

    folder: Path
    printed: str

    @property
    def settings(self) -> str:
        return str(self.folder / "out" / "sample" / "score.yaml")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleRun:
    folder = tmp_path_factory.mktemp("sample")
    made = run_python("jobs/make_sample.py", "out/sample", folder=folder)
    assert made.returncode == 0, made.stderr
    run = SampleRun(folder, "")
    done = run_job("--config", run.settings)
    assert done.returncode == 0, done.stderr
    return SampleRun(folder, done.stdout)


def run_python(script: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / script), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


def areas(output: Path, run_id: str) -> dict[str, float]:
    """Return the image AUROC of each category."""
    scores = read_scores(output, run_id)
    return {
        str(category): float(roc_auc_score(of["label"].astype(bool), of["score"]))
        for category, of in scores.groupby("category")
    }


def run_id_of(output: Path) -> str:
    [folder] = (output / "runs").iterdir()
    return folder.name.removeprefix("run_id=")


@pytest.mark.timeout(500)
def test_the_readmes_tables_are_what_the_run_prints(sample: SampleRun) -> None:
    def rows(text: str) -> dict[str, list[float]]:
        """Return the figures of each category, of the tables of counts and of metrics."""
        found: dict[str, list[float]] = {}
        for name, values in re.findall(r"^(\w+) +(\d[\d.]*(?: +[\d.]+)+)$", text, re.MULTILINE):
            found.setdefault(name, []).extend(map(float, values.split()))
        return found

    expected, printed = rows(README), rows(sample.printed)
    assert list(printed) == list(expected) == ["brick", "coins", "grass", "gravel", "all"]
    for name, values in expected.items():
        assert len(values) == (13 if name == "all" else 16)
        # another processor rounds its products otherwise, which may move a score past its neighbour
        assert printed[name] == pytest.approx(values, abs=0.5), name


def test_the_same_run_again_is_only_read_and_told_to_machines(sample: SampleRun) -> None:
    output = sample.folder / "out" / "sample" / "scores"
    more = [f"--output.run_id={run_id_of(output)}", "--quiet", "--json"]
    done = run_job("--config", sample.settings, *more)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["counts"] == {"images": 160, "scored": 160, "quarantined": 0}
    flagged = sum(decision["flagged"] for decision in found["decisions"])
    assert found["anomalous"] == flagged > 4
    assert sample.printed.splitlines()[0] == f"160 images: 160 scored, 0 quarantined; {flagged} anomalous"


def test_the_readmes_python_reads_the_scores(sample: SampleRun) -> None:
    [code] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=sample.folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "brick" in done.stdout and "score_raw" in done.stdout


def test_the_readmes_picture_can_be_drawn(sample: SampleRun) -> None:
    [line] = re.findall(r"jobs/plot_run.py out/.*", README)
    script, *arguments = shlex.split(line)
    done = run_python(script, *arguments, folder=sample.folder)
    assert done.returncode == 0, done.stderr
    picture = np.asarray(Image.open(sample.folder / arguments[-1] / "worst.png").convert("RGB"))
    assert picture.shape[0] > 1000 and picture.std() > 20


def test_the_sample_lake_is_made_of_the_same_bytes_each_time(sample: SampleRun, tmp_path: Path) -> None:
    write_sample(Location.parse(str(tmp_path)))
    lake = sample.folder / "out" / "sample" / "lake"
    files = sorted(path.relative_to(lake) for path in lake.rglob("*.png"))
    assert len(files) == 4 * (40 + 13)
    for path in files:
        assert (tmp_path / path).read_bytes() == (lake / path).read_bytes(), path


@pytest.mark.daily  # the README's table, in the gate, holds the figures of the real ones
@pytest.mark.timeout(500)
def test_real_weights_find_the_samples_defects_better_than_random_ones(
    ray_here: None, sample: SampleRun, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = timm.create_model("vit_small_patch14_dinov2", pretrained=False, num_classes=0)
    save_file(model.state_dict(), tmp_path / "random.safetensors")
    for category in ("coins", "gravel"):  # two of the four tell as much in half the time
        shutil.copytree(sample.folder / "out" / "sample" / "lake" / category, tmp_path / "lake" / category)
    more = [f"--encoder.weights={tmp_path / 'random.safetensors'}", "--encoder.weights_sha256=null"]
    more += [f"--input.uri={tmp_path / 'lake'}", f"--output.uri={tmp_path}", "--output.run_id=test"]
    done = run_job_here("--config", sample.settings, *more, "--report.images=0")
    assert done.returncode == 0, done.stderr
    output = sample.folder / "out" / "sample" / "scores"
    real, random = areas(output, run_id_of(output)), areas(tmp_path, "test")
    assert len(real) == 4 and min(real.values()) > 0.8
    of_both = real["coins"], real["gravel"]
    assert np.mean(of_both) > np.mean(list(random.values())) + 0.2, (real, random)
