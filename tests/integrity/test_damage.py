"""Every kind of file of a store, a begun run and a published run is damaged, and then comes the next night.

Each night ends with the scores of before, or with one line that names the file: never with other scores, an error that
nobody foresaw, or not at all.
"""

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.errors import LakeScoreError
from pipeline.io.storage import Location
from pipeline.result import read_result
from pipeline.run import score_lake
from pipeline.stages.reduce import Reduction
from pipeline.store.run_folder import RunFolder
from tests.cluster.test_same_scores import largest_difference
from tests.conftest import PlainRun
from tests.integrity import damages
from tests.integrity.damages import ANY, BITS, TABLES, TEXTS, Damage
from tests.running import flags, parse, read_scores, settings

LIMIT = 60  # seconds of a night, which takes about one
WINDOW = ("--references.source=window",)


@dataclass(frozen=True)
class Case:
    """A kind of file by its pattern below the output, a damage, and the night that follows."""

    files: str
    damage: Damage
    night: tuple[str, ...] = ("--output.run_id=next",)
    begun: bool = False

    def __str__(self) -> str:
        return f"{self.files}-{self.damage.__name__}-{'-'.join(self.night)}"


PARTS = "--search.memory_gb=0.0002"  # units of two passes
TAKEN_UP = ("--output.run_id=begun", PARTS)
IN_WINDOW = ("--output.run_id=next", *WINDOW)
AGAIN = ("--output.run_id=test",)
CASES = [
    *(Case("features/*/tokens/*/*.parquet", damage) for damage in (*ANY, *BITS, *TABLES)),
    *(Case("features/*/images/*/*.parquet", damage) for damage in (*ANY, *BITS, *TABLES)),
    *(
        Case("features/*/images/*/*.parquet", damages.column_turned(name))
        for name in ("key", "width", "sharpness", "embedding")
    ),
    *(Case("features/*/index/*/*.parquet", damage) for damage in (*ANY, *BITS, *TABLES)),
    *(Case("features/*/index/*/*.parquet", damages.column_turned(name)) for name in ("key", "row", "sharpness")),
    *(Case("encoders/*.json", damage) for damage in (*ANY[:4], *TEXTS, damages.nowhere)),
    *(
        Case("encoders/*.json", damages.changed(name, value))
        for name, value in [("grid", [0, 8]), ("width", "x"), ("fingerprint", ""), ("layers", [])]
    ),
    *(
        Case(f"work/*/unit_results/{of_pass}/*.npy", damage, TAKEN_UP, begun=True)
        for of_pass in (0, 1)
        for damage in (*ANY, *BITS, damages.not_numbers, *((damages.far_off,) if of_pass else ()))
    ),
    *(
        Case(f"work/*/{kind}/*.parquet", damage, TAKEN_UP, begun=True)
        for kind in ("index", "references", "near_duplicates/*", "units/0", "units/1")
        for damage in (damages.cut, damages.another, damages.gone, damages.all_zero)
    ),
    *(Case("work/*/settings.json", damage, TAKEN_UP, begun=True) for damage in (*TEXTS, damages.nowhere)),
    *(Case("runs/run_id=test/run.json", damage, IN_WINDOW) for damage in (*TEXTS, damages.cut, damages.nowhere)),
    *(
        Case("runs/run_id=test/run.json", damages.changed(name, value), night)
        for night in (IN_WINDOW, AGAIN)
        for name, value in [
            ("finished", "2030-01-01T10:00:00"),  # of no time zone
            ("finished", "soon"),
            ("version", 99),
            ("version", "three"),
            ("version", None),
            ("files", {}),
            ("files", {"scores": {"path": "../../../etc/passwd", "size": 1, "sha256": None}}),
            ("settings", []),
            ("encoder", {}),
            ("counts", None),
            ("more", 1),
        ]
    ),
    *(Case("runs/run_id=test/run.json", damage, AGAIN) for damage in (*TEXTS, damages.cut)),
    *(
        Case(f"runs/run_id=test/{name}", damage, IN_WINDOW)
        for name in ("scores/part-00000.parquet", "pixels.parquet")
        for damage in (*ANY, *BITS, damages.rows_turned, damages.fewer_rows)
    ),
    *(
        Case(f"runs/run_id=test/{name}.parquet", damage, IN_WINDOW)
        for name in ("regions", "families")
        for damage in (damages.cut, damages.another, damages.gone)
    ),
    *(
        Case(f"runs/run_id=test/{name}", damage, AGAIN)
        for name in ("scores/part-00000.parquet", "metrics.parquet")
        for damage in (*ANY, *BITS)
    ),
    *(
        Case("latest.json", damage)
        for damage in (*TEXTS, damages.gone, damages.nowhere, damages.changed("run_id", "no"))
    ),
    *(Case("latest.json", damages.changed("run_id", value)) for value in (7, "../../x", None)),
]


@pytest.fixture(scope="module")
def begun(plain_run: PlainRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output with a run that was killed when all was scored, and nothing reduced."""
    output = tmp_path_factory.mktemp("begun") / "out"
    shutil.copytree(plain_run.output / "features", output / "features")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reduction, "__call__", killed)
        with pytest.raises(KeyboardInterrupt):
            score_lake(parse([*flags(settings(plain_run.lake, output)), *TAKEN_UP]))
    for of_pass in (0, 1):
        assert len(list(output.glob(f"work/run_id=begun/unit_results/{of_pass}/*.npy"))) >= 4
    return output


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    def late(*_: object) -> None:
        raise TimeoutError(f"it took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_damage_is_healed_or_named(
    case: Case, plain_run: PlainRun, begun: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "out"
    shutil.copytree(begun if case.begun else plain_run.output, output, symlinks=True)
    file, *others = sorted(output.glob(case.files)) or [output / "missing"]
    assert file.exists()
    case.damage(file, others[-1] if others else next(output.rglob("*.parquet")))
    run_id = case.night[0].partition("=")[2]
    outcome = ""
    try:
        with limited(LIMIT):
            score_lake(parse([*flags(settings(plain_run.lake, output)), *case.night]))
    except LakeScoreError as error:
        outcome = str(error)
        assert file.name in outcome and len(outcome) <= 500 and "\n" not in outcome
        assert case.night == AGAIN, "only who asks for a published run by its name is told that it is damaged"
    if not outcome:
        found = read_scores(output, run_id)
        assert (found["status"] == "scored").all() and found["uri"].tolist() == plain_run.scores["uri"].tolist()
        assert largest_difference(found, plain_run.scores) <= 1e-6
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert all(len(line) <= 600 and "\n" not in line for line in said)
    print(f"| {case} | {outcome or 'healed'} | {said[0] if said else ''} |")


@pytest.mark.parametrize("name", ["run.json", "scores/part-00000.parquet", "metrics.parquet"])
@pytest.mark.parametrize("damage", [*ANY, *BITS], ids=lambda damage: damage.__name__)
def test_who_reads_a_damaged_run_is_told_which_file(
    name: str, damage: Damage, plain_run: PlainRun, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    shutil.copytree(plain_run.output / "runs", output / "runs")
    file = output / "runs/run_id=test" / name
    damage(file, output / "runs/run_id=test/catalog.parquet")
    if name == "run.json" and damage in (damages.gone, damages.nowhere):
        said = "no finished run at"
    else:
        said = file.name
    folder = RunFolder(Location.parse(str(output)), "test")
    try:
        result = read_result(folder)
    except LakeScoreError as error:
        assert said in str(error) and len(str(error)) <= 500
    else:  # a bit of run.json that says nothing of what was read
        assert name == "run.json"
        assert result.scores["score_raw"].to_pylist() == plain_run.scores["score_raw"].tolist()
