"""Credentials are written nowhere: not by a run that goes well, and not by one that fails."""

from pathlib import Path

import pytest

from pipeline.config import ScoreConfig
from pipeline.errors import ConfigError
from pipeline.io import retry
from pipeline.run import score_lake
from tests.running import flags, settings, small_lake
from tests.s3.conftest import SECRET, Key, run_as

UNREACHABLE = {"AWS_ENDPOINT_URL": f"http://me:{SECRET}@127.0.0.1:1", "AWS_SECRET_ACCESS_KEY": SECRET}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"AWS_SECRET_ACCESS_KEY": f"{SECRET}-wrong"}, "cannot read s3://lake/parts: the credentials are refused"),
        (UNREACHABLE, "cannot read s3://lake/parts: tried for 0 s: Could not connect"),
    ],
    ids=["wrong secret", "no server"],
)
def test_a_run_that_cannot_read_its_lake_does_not_say_its_credentials(
    wrong: dict[str, str], said: str, scorer: Key, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "PATIENCE", 0.2)
    done = run_as({**scorer, **wrong}, *flags(settings("s3://lake/parts", tmp_path / "out")))
    assert done.returncode == 1 and said in done.stderr, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


ADDRESS = f"s3://AKIAEXAMPLE:a/{SECRET}@lake/parts"


@pytest.mark.parametrize("name", ["input.uri", "output.uri", "encoder.weights", "references.pinned", "input.roots"])
def test_an_address_with_credentials_is_refused_and_leaves_no_trace(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lake = small_lake(tmp_path / "lake", categories=("brick",), images=3)
    groups: dict[str, dict[str, object]] = {}
    for key, value in (settings(lake, tmp_path / "out") | {name: ADDRESS}).items():
        group, _, field = key.partition(".")
        if "." in field:
            continue  # of Ray, which is not asked
        groups.setdefault(group, {})[field] = [value] if key == "input.roots" else value
    if name == "references.pinned":
        groups["references"]["source"] = "pinned"
    with pytest.raises(ConfigError, match="lake/parts names no bucket") as raised:
        score_lake(ScoreConfig.model_validate(groups))
    assert SECRET not in str(raised.value) + caplog.text and "AKIA" not in str(raised.value)
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
