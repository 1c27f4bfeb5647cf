"""The Dockerfile: what it says, and what comes of doing its steps, without a builder."""

import json
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.sample.weights import ENCODER, sample_weights
from tests.conftest import REPOSITORY, not_run
from tests.infra.conftest import INFRA, infra_tool
from tests.infra.container import NAMESPACES, Image, build, context, instructions
from tests.running import flags, settings, small_lake

DOCKERFILE = INFRA / "image" / "Dockerfile"
STEPS = instructions(DOCKERFILE)
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 2}  # as KubeRay gives it
# Shared libraries that are no package's and no Python's: all of them in python:3.11-slim
SYSTEM_LIBRARIES = {
    *("ld-linux-x86-64", "libc", "libm", "libdl", "librt", "libpthread", "libutil", "libgcc_s", "libstdc++"),
    *("libz", "libbz2", "liblzma", "libssl", "libcrypto", "libffi", "libuuid", "libsqlite3", "libnss_files"),
    "libfribidi",  # Pillow takes it where it is, to set Arabic; we set none
}


def values(keyword: str) -> list[str]:
    return [value for name, value in STEPS if name == keyword]


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run([infra_tool("hadolint"), DOCKERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_base_is_one_exact_version_of_our_python() -> None:
    first, *others = values("FROM")
    assert (found := re.fullmatch(r"python:(3\.\d+)\.\d+-slim-\w+ AS python", first))
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["requires-python"].startswith(f">={found[1]},")
    assert others == ["python AS packages", "python"]
    assert f"docker.io/library/{first.split()[0]}" in values("LABEL")[0]


def test_nothing_is_installed_but_by_the_script_that_make_runs_too() -> None:
    programs = {command.split()[0] for run in values("RUN") for command in run.split("&&")}
    assert programs == {"python", "infra/image/install.sh", "useradd", "mkdir"}
    assert "python -m venv /opt/lakescore && infra/image/install.sh /opt/lakescore" in values("RUN")
    makefile = (REPOSITORY / "Makefile").read_text()
    assert re.findall(r"^\t(infra/image/install\.sh .*)$", makefile, re.MULTILINE) == [
        "infra/image/install.sh .venv sample",
        "infra/image/install.sh .venv sample,test",
    ]


def test_the_lock_has_the_cuda_of_torch_and_that_of_faiss() -> None:
    """In a process that loads both: torch says which it was built for, FAISS loads the one it needs or fails."""
    import torch

    assert torch.version.cuda is not None
    pins = dict(line.split("==") for line in (REPOSITORY / "constraints.txt").read_text().split())
    assert pins["nvidia-cuda-runtime"].startswith(f"{torch.version.cuda}.")
    assert {"nvidia-cuda-runtime-cu12", "nvidia-cublas-cu12", "nvidia-curand-cu12"} <= set(pins)


def test_the_context_holds_the_code_and_little_else(tmp_path: Path) -> None:
    sent = context(REPOSITORY, tmp_path)
    files = {str(path.relative_to(sent)) for path in sent.rglob("*") if path.is_file()}
    others = {name for name in files if not re.fullmatch(r"(pipeline|jobs)/.+\.py", name)}
    assets = (REPOSITORY / "pipeline" / "report" / "page" / "assets").rglob("*.*")
    page = {str(path.relative_to(REPOSITORY)) for path in assets}
    assert others - page == {"pyproject.toml", "constraints.txt", "infra/image/install.sh", "infra/image/profile.sh"}
    assert page < others  # or no run in the cluster would have a report


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The image, as far as it can be built here."""
    tried = subprocess.run([*NAMESPACES, "ip", "link", "set", "lo", "up"], capture_output=True, text=True, check=False)
    if tried.returncode:
        not_run(f"the image's steps need root and namespaces: {tried.stderr.strip()}")
    folder = Path(tempfile.mkdtemp(prefix="image-"))
    try:
        folder.chmod(0o755)  # for the image's user
        yield build(DOCKERFILE, context(REPOSITORY, folder / "context"), folder)
    finally:
        shutil.rmtree(folder)


@pytest.mark.daily
def test_every_module_comes_from_app_and_needs_no_library_that_the_base_lacks(image: Image) -> None:
    script = """
import importlib, json, pathlib, pkgutil
import faiss, matplotlib.pyplot, open_clip, torchvision
import pipeline
names = [module.name for module in pkgutil.walk_packages(pipeline.__path__, "pipeline.")]
files = [importlib.import_module(name).__file__ for name in names if not name.startswith("pipeline.sample")]
maps = {line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}
print(json.dumps({"files": files, "libraries": sorted(maps)}))
"""
    done = image.run(["python", "-c", script])
    assert done.returncode == 0, done.stderr
    assert "temporary cache directory" not in done.stderr  # it is Matplotlib that says so, of a home it cannot write
    found = json.loads(done.stdout)
    assert all(file.startswith("/app/pipeline/") for file in found["files"])
    code = {str(p.relative_to(REPOSITORY)) for p in (REPOSITORY / "pipeline").rglob("*.py") if "sample" not in p.parts}
    assert {f"/app/{name}" for name in code} == {*found["files"], "/app/pipeline/__init__.py"}
    loaded = {Path(library) for library in found["libraries"]}
    assert {"libcudart.so.12", "libcudart.so.13"} <= {path.name for path in loaded}
    of_the_system = {path for path in loaded if not path.is_relative_to("/packages")}
    foreign = {path.name for path in of_the_system if not path.is_relative_to("/usr/local")}
    assert {name.split(".so")[0].split("-2.")[0] for name in foreign} <= SYSTEM_LIBRARIES


@pytest.mark.daily
@pytest.mark.parametrize("options", ["-ec", "-elc"])
def test_shells_find_the_programs_and_the_user(image: Image, options: str) -> None:
    """KubeRay starts Ray by `bash -c`, and by a login shell where it is told to."""
    done = image.run(["/bin/bash", options, "type -p python ray; id -un; jobs/inspect_run.py --help | head -1"])
    assert done.returncode == 0, done.stderr
    *found, usage = done.stdout.splitlines()
    assert found == ["/opt/lakescore/bin/python", "/opt/lakescore/bin/ray", "ray"]
    assert usage.startswith("usage: inspect_run.py")


@pytest.mark.daily
def test_started_without_a_command_it_shows_the_settings(image: Image) -> None:
    done = image.run(image.command)
    assert done.returncode == 0, done.stderr
    assert "--input.uri" in done.stdout


@pytest.mark.daily
def test_a_node_is_healthy_and_scores_a_lake_on_a_read_only_root(image: Image) -> None:
    """One container is the cluster: no health before Ray runs, then a job that joins it, as the image's user."""
    volumes = Path(f"{image.root}.volumes")
    small_lake(volumes / "data" / "lake", categories=("brick",), images=6)
    (volumes / "weights").mkdir()
    shutil.copyfile(sample_weights(), volumes / "weights" / "vit.safetensors")
    for path in (volumes / "data", *(volumes / "data").rglob("*")):
        shutil.chown(path, 1000, 1000)
    (image.root / "data").mkdir()
    job = ["/app/jobs/score_dataset.py", "--ray.address=127.0.0.1:6379"]
    drawn = {"report.images": 6}
    real = {"encoder.name": ENCODER, "encoder.weights": "/weights/vit.safetensors"}
    job += flags(settings("/data/lake", "/data/scores") | real | drawn)
    script = f"""
healthy() {{ {" ".join(f"'{word}'" if " " not in word else f'"{word}"' for word in image.health)}; }} 2>/tmp/health
! healthy
ray start --head --block --num-cpus=4 --disable-usage-stats >/tmp/ray.log 2>&1 &
for attempt in $(seq 1000); do if healthy; then break; fi; done
healthy
{" ".join(job)}
! touch /app/written /opt/lakescore/written /home/ray/written 2>/dev/null
"""
    done = image.run(["bash", "-euc", script], env=TOKEN | {"HOME": "/home/ray"}, volumes=("/data", "/weights"))
    assert done.returncode == 0, done.stdout + done.stderr
    scores = pq.read_table(volumes / "data" / "scores" / "runs" / "run_id=test" / "scores" / "part-00000.parquet")
    assert scores["status"].to_pylist() == ["scored"] * 6
    assert "Read-only file system" not in done.stderr
