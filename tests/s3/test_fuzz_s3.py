"""A bucket full of mutated images: every object ends as one row, and the good ones are scored."""

import json
from collections import Counter
from pathlib import Path

import boto3

from pipeline.images import Reason
from tests.fuzz import mutants, originals, pictures
from tests.running import flags, read_scores, run_job_here, settings, small_lake

GOOD, BAD = 12, 240


def test_every_object_of_a_bucket_of_mutants_ends_as_one_row(ray_here: None, bucket: str, tmp_path: Path) -> None:
    lake = small_lake(tmp_path / "lake", categories=("brick",), images=GOOD)
    objects = {f"brick/{path.name}": path.read_bytes() for path in (lake / "brick" / "test").rglob("*.png")}
    objects |= {f"fuzzed/{name}": content for name, content in mutants(originals(pictures(), seed=3), BAD, seed=3)}
    assert len(objects) == GOOD + BAD
    client = boto3.client("s3")
    for name, content in objects.items():
        client.put_object(Bucket=bucket.removeprefix("s3://"), Key=f"lake/{name}", Body=content)
    client.close()

    done = run_job_here(
        *flags(settings(f"{bucket}/lake", tmp_path / "out", input__layout="folder", report__images=500))
    )
    assert done.returncode == 0, done.stderr
    scores = read_scores(tmp_path / "out")
    assert sorted(scores["uri"]) == sorted(f"{bucket}/lake/{name}" for name in objects)
    scored = scores["status"] == "scored"
    assert scored[scores["category"] == "brick"].sum() == GOOD
    assert scores[scored]["score"].notna().all() and scores[scored]["reason"].isna().all()
    rejected = scores[~scored]
    assert set(rejected["status"]) == {"quarantined"} and set(rejected["reason"]) <= set(Reason)
    assert rejected["detail"].str.len().gt(0).all() and rejected["score"].isna().all()
    assert BAD // 4 < len(rejected) < BAD

    counts = json.loads((tmp_path / "out/runs/run_id=test/run.json").read_text())["counts"]
    assert counts["images"] == len(objects) == counts["scored"] + counts["quarantined"]
    assert counts["scored"] == scored.sum() and counts["other_files"] == 0
    assert counts["reasons"] == Counter(rejected["reason"])
