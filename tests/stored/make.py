"""Make tests/stored/d52b0b9/: runs and features as that commit wrote them, which later versions have to open.

git worktree add --detach ../d52b0b9 d52b0b9
.venv/bin/python tests/stored/make.py ../d52b0b9

The job and the sample's images are those of the checkout that is given; nothing of today's code is imported. Made
twice, the files differ in times, durations and ids of Ray's nodes, and in nothing else.

What is stored names images and weights by absolute paths, and tells an image's content by its size and the time of its
last change. So the runs are made below `HOME`, and whoever opens them puts the lake there again, with `put_lake`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from PIL import Image

COMMIT = "d52b0b98cefb925cb2b5bde8b8acb3bd32352a64"
STORED = Path(__file__).parent / COMMIT[:7]
HOME = Path(f"/tmp/lakescore-{COMMIT[:7]}")
LAKE, WEIGHTS = HOME / "lake", HOME / "weights.safetensors"
MODIFIED = 1_790_000_000  # seconds since 1970: when every file of the lake was changed last
SIDE = 64  # pixels of an image
IMAGES = (*(f"good/{number:03d}" for number in range(6)), "scratch/000", "hole/000")  # of both categories
LATE = ("brick/test/good/006.png", "brick/test/stain/000.png")  # lie there on Tuesday only
RUNS = ("batch", "monday", "tuesday")  # as they were published


def put_lake(weights: Path) -> None:
    """Put the lake where the stored runs know it, and a link to the sample's weights.

    What is there already stays, so that several processes may do this at a time. Raises `RuntimeError` for images that
    are not the lake's.
    """
    files = {path.relative_to(STORED / "lake"): path for path in (STORED / "lake").rglob("*") if path.is_file()}
    for name, path in files.items():
        _put(LAKE / name, path.read_bytes())
    found = {path.relative_to(LAKE) for path in LAKE.rglob("[!.]*") if path.is_file()}
    if others := sorted(found - files.keys()):
        raise RuntimeError(f"{LAKE / others[0]} is not of the stored lake: remove {HOME}")
    if not os.access(WEIGHTS, os.R_OK):
        link = _beside(WEIGHTS)
        link.symlink_to(weights)
        link.replace(WEIGHTS)


def _put(path: Path, content: bytes) -> None:
    if path.exists() and path.read_bytes() == content and path.stat().st_mtime_ns == MODIFIED * 10**9:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _beside(path)
    partial.write_bytes(content)
    os.utime(partial, (MODIFIED, MODIFIED))
    partial.replace(path)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}")  # hidden: it is no input


def main(checkout: Path) -> None:
    head, changed = _git(checkout, "rev-parse", "HEAD"), _git(checkout, "status", "--porcelain")
    assert head == COMMIT, f"{checkout} is at {head}; this needs {COMMIT}"
    assert not changed, f"{checkout} was changed:\n{changed}"
    shutil.rmtree(HOME, ignore_errors=True)
    shutil.rmtree(STORED, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        _run(checkout, "make_sample.py", folder)
        encoder = yaml.safe_load((Path(folder) / "score.yaml").read_bytes())["encoder"]
        for category in ("brick", "gravel"):
            for name in IMAGES:
                _shrink(Path(folder) / "lake", f"{category}/test/{name}.png")
        for path in LATE:
            _shrink(Path(folder) / "lake", path)
    (STORED / "lake" / "brick" / "test" / "good" / "empty.png").write_bytes(b"")  # is quarantined
    put_lake(Path(encoder["weights"]))
    for path in LATE:
        (LAKE / path).unlink()
    window = ["--references.source=window", "--references.days=36500"]  # in however many years they are opened
    _score(checkout, encoder, "batch")
    _score(checkout, encoder, "monday", *window)
    put_lake(Path(encoder["weights"]))
    _score(checkout, encoder, "tuesday", *window)
    for part in ("features", "runs", "latest.json"):
        source, target = HOME / "output" / part, STORED / "output" / part
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    for left in (STORED / "output" / "runs").glob("*/report/**/*"):  # the page's own files are nobody's results
        if left.is_file() and left.suffix != ".webp":
            left.unlink()
    (STORED / "README.md").write_text(
        f"A lake, and what the code of {COMMIT} made of it: features, and the runs {', '.join(RUNS)}.\n"
        f"Written by `tests/stored/make.py <checkout of {COMMIT[:7]}>`, and never by hand.\n"
        "For `tests/stored/test_opens.py`: what was stored then opens today.\n"
    )
    shutil.rmtree(HOME)


def _shrink(lake: Path, path: str) -> None:
    """Store an image of the sample, and its mask if it has one, in fewer pixels."""
    mask = path.replace("/test/", "/ground_truth/").replace(".png", "_mask.png")
    for name, how in ((path, Image.Resampling.BOX), (mask, Image.Resampling.NEAREST)):
        if (lake / name).exists():
            (STORED / "lake" / name).parent.mkdir(parents=True, exist_ok=True)
            Image.open(lake / name).resize((SIDE, SIDE), how).save(STORED / "lake" / name)


def _score(checkout: Path, encoder: dict[str, str], run_id: str, *more: str) -> None:
    """Score the lake by patches of 2 x 2, whatever this machine is called."""
    given = encoder | {"weights": str(WEIGHTS), "size": "28"}
    flags = [f"--input.uri={LAKE}", f"--output.uri={HOME / 'output'}", f"--output.run_id={run_id}", "--report.images=2"]
    flags += [f"--encoder.{name}={value}" for name, value in given.items()]
    _run(checkout, "score_dataset.py", *flags, *more)


def _run(checkout: Path, job: str, *arguments: str) -> None:
    script = checkout.resolve() / "jobs" / job
    code = "import runpy, socket; socket.gethostname = lambda: 'host'\n"
    code += f"runpy.run_path({str(script)!r}, run_name='__main__')"
    env = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "RAY_", "HF_"))}
    env |= {"PYTHONPATH": str(checkout.resolve()), "RAY_AUTH_MODE": "disabled"}
    subprocess.run([sys.executable, "-c", code, *arguments], env=env, check=True)


def _git(checkout: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
