"""Settings: their defaults, and one tree that YAML and the command line fill alike."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from pipeline.config import ONE_OF, OWN_SETTINGS, ScoreConfig
from pipeline.errors import ConfigError
from tests.running import parse

REPOSITORY = Path(__file__).parents[1]
JOB = REPOSITORY / "jobs" / "score_dataset.py"
REQUIRED = ["--input.uri", "lake", "--output.uri", "out"]

# dotted name -> (as written behind a flag, what it means); each differs from its default
SETTINGS: dict[str, tuple[str, Any]] = {
    "input.uri": ("s3://lake/parts", "s3://lake/parts"),
    "input.roots": ("[s3://a/b, /c]", ("s3://a/b", "/c")),
    "input.layout": ("visa", "visa"),
    "input.labels": ("s3://lake/labels.csv", "s3://lake/labels.csv"),
    "input.region": ('{"007": "s3://lake/masks/a.png"}', {"007": "s3://lake/masks/a.png"}),
    "input.box": ("[l, t, r, b]", ("l", "t", "r", "b")),
    "input.group": ("serial", "serial"),
    "input.bits": ("12", 12),
    "input.channels": ("[3, 2, 0]", (3, 2, 0)),
    "input.smallest_defect": ("12.5", 12.5),
    "input.max_pixels": ("5000", 5000),
    "input.max_bytes": ("70000", 70000),
    "input.max_seconds": ("2.5", 2.5),
    "output.uri": ("007", "007"),
    "output.run_id": ("20240102", "20240102"),
    "encoder.name": ("timm:vit_small_patch14_dinov2.lvd142m", "timm:vit_small_patch14_dinov2.lvd142m"),
    "encoder.weights": ("weights/a.safetensors", "weights/a.safetensors"),
    "encoder.weights_sha256": ("0123456789abcdef" * 4, "0123456789abcdef" * 4),
    "encoder.size": ("224", 224),
    "encoder.layers": ("[2, 5]", (2, 5)),
    "encoder.dtype": ("bf16", "bf16"),
    "encoder.store": ("fp32", "fp32"),
    "encoder.batch_size": ("3", 3),
    "tiles.scale": ("0.5", 0.5),
    "tiles.size": ("280", 280),
    "tiles.overlap": ("28", 28),
    "method.preset": ("paper", "paper"),
    "method.variance": ("0.9", 0.9),
    "method.degrees": ("[1, 7]", (1, 7)),
    "method.interval": ("0.25", 0.25),
    "method.windows": ("[1, 8, 9]", (1, 8, 9)),
    "method.fuse_degrees": ("true", True),
    "method.projection": ("pca", "pca"),
    "method.projection_width": ("64", 64),
    "references.source": ("pinned", "pinned"),
    "references.days": ("2.5", 2.5),
    "references.pinned": ("s3://lake/pinned.csv", "s3://lake/pinned.csv"),
    "references.mode": ("sample", "sample"),
    "references.count": ("12", 12),
    "references.seed": ("-7", -7),
    "references.limit": ("300", 300),
    "references.quadratic": ("true", True),
    "references.thin": ("3", 3),
    "references.turns": ("4", 4),
    "references.near_duplicates": ("0.99", 0.99),
    "search.kind": ("gemm", "gemm"),
    "search.dtype": ("int8", "int8"),
    "search.radius": ("7", 7),
    "search.memory_gb": ("1.5", 1.5),
    "decision.image.rule": ("fixed", "fixed"),
    "decision.image.value": ("0.25", 0.25),
    "decision.image.categories": ('{"007": 0.25}', {"007": 0.25}),
    "decision.pixel.rule": ("share", "share"),
    "decision.pixel.value": ("0.125", 0.125),
    "decision.pixel.categories": ('{"a b": 0.375}', {"a b": 0.375}),
    "families.count": ("4", 4),
    "drift.distance": ("0.5", 0.5),
    "drift.quarantine": ("0.25", 0.25),
    "drift.significance": ("0.01", 0.01),
    "report.images": ("20", 20),
    "ray.address": ("ray://head:10001", "ray://head:10001"),
    "ray.encode.min": ("2", 2),
    "ray.encode.max": ("4", 4),
    "ray.encode.cpus": ("3", 3),
    "ray.encode.gpus": ("0.5", 0.5),
    "ray.score.min": ("3", 3),
    "ray.score.max": ("5", 5),
    "ray.score.cpus": ("2", 2),
    "ray.score.gpus": ("0", 0.0),
    "log": ("json", "json"),
    "metrics": ("musc", "musc"),
}

# settings that cannot stand alone -> what they need beside them
NEEDED: dict[str, dict[str, Any]] = {
    **{f"method.{name}": {"method.preset": preset} for preset, names in OWN_SETTINGS.items() for name in names},
    "decision.image.rule": {"decision.image.value": 0.5},
    "decision.pixel.rule": {"decision.pixel.categories": {"nut": 0.5}},
    "decision.pixel.value": {"decision.pixel.rule": "quantile"},
    "decision.pixel.categories": {"decision.pixel.rule": "quantile"},
    "ray.encode.max": {"ray.encode.min": 1},
    "ray.encode.min": {"ray.encode.max": 9},
    "references.source": {"references.pinned": "pinned.csv"},
    "references.pinned": {"references.source": "pinned"},
}

# dotted name -> values that cannot work, as YAML reads them
REFUSED: list[tuple[str, Any]] = [
    ("input.layout", "coco"),
    ("input.box", ["left", "top", "right"]),
    ("input.box", ["left", "top", "right", "left"]),
    ("input.box", ["left", "top", "right", "uri"]),
    ("input.bits", 7),
    ("input.bits", 17),
    ("input.bits", "twelve"),
    ("input.channels", [0, 1]),
    ("input.channels", [0, 1, -1]),
    ("input.max_pixels", 0),
    ("input.max_pixels", "many"),
    ("input.max_bytes", 0),
    ("input.max_seconds", 0),
    ("input.smallest_defect", 0),
    ("references.days", 0),
    ("references.near_duplicates", 1.5),
    ("decision.image.value", -0.1),
    ("decision.image.value", 2.5),
    ("families.count", 0),
    ("drift.distance", 0),
    ("input.max_seconds", float("inf")),
    ("output.run_id", ""),
    ("output.run_id", "a/b"),
    ("output.run_id", "../up"),
    ("output.run_id", ".hidden"),
    ("output.run_id", "two words"),
    ("output.run_id", "line\n"),
    ("output.run_id", "ü"),
    ("output.run_id", "x" * 101),
    ("encoder.weights_sha256", "abc"),
    ("encoder.weights_sha256", "0123456789ABCDEF" * 4),
    ("encoder.size", 0),
    ("encoder.size", 2.5),
    ("encoder.size", [0, 224]),
    ("encoder.size", [224]),
    ("encoder.size", [224, 224, 3]),
    ("encoder.size", [224, 2.5]),
    ("encoder.size", "many"),
    ("encoder.size", {}),
    ("encoder.size", {"short": 0}),
    ("encoder.size", {"area": -1}),
    ("encoder.size", {"long": 518}),
    ("encoder.size", {"short": 3, "area": 4}),
    ("tiles.scale", 0),
    ("tiles.scale", -1),
    ("tiles.scale", 17),
    ("tiles.scale", "many"),
    ("tiles.size", 0),
    ("tiles.overlap", -1),
    ("encoder.layers", ["last"]),
    ("encoder.layers", "last"),
    ("encoder.dtype", "int8"),
    ("encoder.store", "bf16"),
    ("encoder.batch_size", -1),
    ("method.preset", "padim"),
    ("method.preset", "musc"),
    ("method.variance", 0),
    ("method.variance", 1.5),
    ("method.degrees", []),
    ("method.degrees", [2]),
    ("method.degrees", [-1]),
    ("method.degrees", [1, 0]),
    ("method.interval", 0),
    ("method.interval", 1.5),
    ("method.interval", float("nan")),
    ("method.windows", []),
    ("method.windows", [0, 1]),
    ("method.windows", [-1]),
    ("method.fuse_degrees", "perhaps"),
    ("method.projection", "svd"),
    ("method.projection_width", 0),
    ("method.projection_width", -4),
    ("references.mode", "some"),
    ("references.count", 2),
    ("references.count", "all"),
    ("references.seed", 0.5),
    ("references.limit", 0),
    ("references.quadratic", "perhaps"),
    ("search.kind", "hnsw"),
    ("search.dtype", "tf32"),
    ("search.dtype", "int4"),
    ("references.thin", 0),
    ("references.turns", 2),
    ("references.mode", "near"),
    ("search.radius", 0),
    ("search.radius", -3),
    ("search.radius", 2.5),
    ("search.radius", "half"),
    ("search.memory_gb", 0),
    ("search.memory_gb", float("inf")),
    ("ray.encode.min", 0),
    ("ray.encode.max", 0),
    ("ray.score.cpus", 0),
    ("ray.score.gpus", -0.5),
    ("metrics", "f1"),
]


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from leaves(field.annotation, f"{prefix}{name}.")
        elif not field.exclude:  # an old name
            yield prefix + name


def value_of(config: ScoreConfig, name: str) -> Any:
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value


def tree(**values: Any) -> dict[str, Any]:
    """Return nested settings with the required ones, from dotted names."""
    root: dict[str, Any] = {}
    for name, value in {"input.uri": "lake", "output.uri": "out", **values}.items():
        *groups, last = name.split(".")
        place = root
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = value
    return root


def together(preset: str) -> dict[str, tuple[str, Any]]:
    """Return SETTINGS that can all be given at once, with a preset."""
    others = {f"method.{name}" for of, names in OWN_SETTINGS.items() if of != preset for name in names}
    chosen = {name: of for name, of in SETTINGS.items() if name not in others}
    del chosen["references.thin"]  # which goes with no radius
    if preset != "lakescore":
        del chosen["search.radius"]
    if preset == "subspace":
        del chosen["references.turns"]
    return chosen | {"method.preset": (preset, preset)}


PRESETS = ("lakescore", *OWN_SETTINGS)


def write_yaml(folder: Path, values: Any, name: str = "score.yaml") -> str:
    path = folder / name
    path.write_text(yaml.safe_dump(values))
    return str(path)


def run_job(*arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "LAKESCORE_TRACEBACK"}
    return subprocess.run(
        [sys.executable, str(JOB), *arguments], capture_output=True, text=True, env=environment, timeout=120
    )


def test_by_default_two_middle_layers_are_compared_and_thresholds_find_themselves() -> None:
    config = ScoreConfig.model_validate(tree())
    assert config.method.preset == "lakescore" and config.encoder.layers == "middle"
    assert config.search.radius == "auto" and config.references.mode == "auto"
    assert config.decision.image.rule == config.decision.pixel.rule == "auto"


def test_defaults_of_the_preset_paper_are_the_papers() -> None:
    config = ScoreConfig.model_validate(tree(**{"method.preset": "paper"}))
    assert config.encoder.name == "open_clip:ViT-L-14-336-quickgelu/openai"
    assert config.encoder.size == 518
    assert config.encoder.layers is None  # the last block of each quarter: tests/encoders
    assert config.method.degrees == (1, 3, 5)
    assert config.method.interval == 0.3
    assert config.method.windows == (1, 2, 3)
    assert not config.method.fuse_degrees and config.method.projection == "none"
    assert config.references.mode == "auto"  # all with all, as far as that is affordable
    assert config.metrics == "exact"


def test_defaults_compute_in_full_precision() -> None:
    config = ScoreConfig.model_validate(tree())
    assert config.encoder.dtype == "fp32"
    assert config.search.dtype == "auto"  # which is fp32 but on GPUs: tests/scoring/search/test_settings.py


def test_every_setting_is_explained() -> None:
    def check(model: type[BaseModel]) -> None:
        for name, field in model.model_fields.items():
            if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                check(field.annotation)
            else:
                assert field.description, f"{model.__name__}.{name}"

    check(ScoreConfig)


@pytest.mark.parametrize("preset", PRESETS)
def test_layers_that_are_told_stay_and_those_that_are_not_are_the_presets(preset: str) -> None:
    usual = "middle" if preset == "lakescore" else None
    assert parse([*REQUIRED, f"--method.preset={preset}"]).encoder.layers == usual
    for written, meant in (("5,11", (5, 11)), ("middle", "middle")):
        config = parse([*REQUIRED, f"--method.preset={preset}", f"--encoder.layers={written}"])
        assert config.encoder.layers == meant


@pytest.mark.parametrize("preset", PRESETS)
def test_settings_of_another_preset_are_refused_with_its_name(preset: str, tmp_path: Path) -> None:
    for of, names in OWN_SETTINGS.items():
        for name in names:
            written, meant = SETTINGS[f"method.{name}"]
            value = list(meant) if isinstance(meant, tuple) else meant
            values = tree(**{"method.preset": preset, f"method.{name}": value})
            calls = ([*REQUIRED, f"--method.preset={preset}", f"--method.{name}={written}"],)
            for arguments in (*calls, ["--config", write_yaml(tmp_path, values)]):
                if of == preset:
                    assert parse(arguments).method.preset == preset
                    continue
                message = f"^method: .*{name} is a setting of preset {of}: preset {preset} has none"
                with pytest.raises(ConfigError, match=message):
                    parse(arguments)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--references.thin=2", "--search.radius=7"], "references.thin .* goes with no search.radius"),
        (["--references.thin=2", "--method.preset=paper"], "references.thin is a setting of preset lakescore"),
        (["--references.mode=nearest", "--method.preset=paper"], "references.mode nearest is of preset lakescore"),
        (["--references.turns=4", "--method.preset=subspace"], "references.turns is no setting of preset subspace"),
    ],
)
def test_what_is_done_to_references_is_of_methods_that_compare(flags: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse([*REQUIRED, *flags])


@pytest.mark.parametrize("preset", OWN_SETTINGS)
def test_a_radius_is_of_preset_lakescore_and_needs_a_search_that_has_one(preset: str) -> None:
    assert parse([*REQUIRED, f"--method.preset={preset}", "--search.radius=auto"]).search.radius == "auto"
    assert parse([*REQUIRED, "--search.radius=whole"]).search.radius == "whole"
    for radius in ("7", "whole"):
        with pytest.raises(ConfigError, match=f"search.radius is a setting of preset lakescore: preset {preset} has"):
            parse([*REQUIRED, f"--method.preset={preset}", f"--search.radius={radius}"])
    with pytest.raises(ConfigError, match="faiss searches whole images; use kind gemm or auto for a radius"):
        parse([*REQUIRED, "--search.kind=faiss", "--search.radius=7"])


@pytest.mark.parametrize(("old", "new"), [("musc", "paper"), ("subspace", "subspace")])
def test_the_old_name_of_a_preset_means_the_new_one_and_warns(
    old: str, new: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = parse([*REQUIRED, f"--method.preset={new}"])
    assert not caplog.messages
    assert parse([*REQUIRED, f"--method.name={old}"]) == expected
    assert parse(["--config", write_yaml(tmp_path, tree(**{"method.name": old}))]) == expected
    assert len(caplog.messages) >= 2
    assert all("method.name is called method.preset now" in said for said in caplog.messages)
    assert '"name"' not in expected.method.model_dump_json()
    with pytest.raises(ConfigError, match="^method: .* are two presets"):
        parse([*REQUIRED, f"--method.name={old}", f"--method.preset={'subspace' if old == 'musc' else 'paper'}"])
    with pytest.raises(ConfigError, match="^method: .*method.name 'padim' is unknown"):
        parse([*REQUIRED, "--method.name=padim"])


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("224", 224),
        ("280,700", (280, 700)),
        ("[280, 700]", (280, 700)),
        ("224,224", 224),
        ("{short: 224}", {"short": 224}),
        ("{area: 300}", {"area": 300}),
        ("auto", {"area": 518}),
    ],
)
def test_a_size_is_a_square_a_rectangle_or_keeps_the_aspect(written: str, meant: Any, tmp_path: Path) -> None:
    size = written if "," in written and "[" not in written else yaml.safe_load(written)
    for arguments in (
        [*REQUIRED, f"--encoder.size={written}"],
        ["--config", write_yaml(tmp_path, tree(**{"encoder.size": size}))],
    ):
        found = parse(arguments)
        assert found.encoder.size == meant
        assert ScoreConfig.model_validate(found.model_dump(mode="json")) == found  # as run.json keeps it


@pytest.mark.parametrize(("written", "meant"), [("auto", "auto"), ("none", "none"), ("1", 1.0), ("0.25", 0.25)])
def test_a_scale_is_a_number_or_a_word(written: str, meant: Any) -> None:
    assert parse([*REQUIRED, f"--tiles.scale={written}"]).tiles.scale == meant


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, value in REFUSED if name in ONE_OF and value not in (0, [0, 224])]
)
def test_what_a_setting_of_several_types_may_be_is_said(name: str, value: Any, tmp_path: Path) -> None:
    for arguments in (
        ["--config", write_yaml(tmp_path, tree(**{name: value}))],
        [*REQUIRED, f"--{name}={value}"],
    ):
        with pytest.raises(ConfigError) as caught:
            parse(arguments)
        assert str(caught.value) == f"{name}: {ONE_OF[name]}"


@pytest.mark.parametrize("what", ["image", "pixel"])
@pytest.mark.parametrize("value", [0, 0.5, 0.95, 1.5])
def test_a_quantile_is_no_value_of_rule_auto_which_is_told(what: str, value: float) -> None:
    message = (
        rf"^decision.{what}: .*{value:g} is no value of rule auto.*such as 0\.02; for a quantile take rule quantile"
    )
    for flag in (f"value={value}", f"categories={{nut: {value}}}"):
        with pytest.raises(ConfigError, match=message):
            parse([*REQUIRED, f"--decision.{what}.{flag}"])
        rule = "fixed" if value > 1 else "quantile"
        assert parse([*REQUIRED, f"--decision.{what}.rule={rule}", f"--decision.{what}.{flag}"])


def test_settings_cannot_be_changed_once_made() -> None:
    config = ScoreConfig.model_validate(tree())
    for group, name in ((config, "metrics"), (config.input, "uri"), (config.ray.encode, "min")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(group, name, "other")


@pytest.mark.parametrize("name", ["nonsense", "input.nonsense", "ray.encode.nonsense"])
def test_unknown_setting_is_refused_and_named_in_code_yaml_and_flags(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="nonsense"):
        ScoreConfig.model_validate(tree(**{name: 1}))
    with pytest.raises(ConfigError, match="nonsense"):
        parse(["--config", write_yaml(tmp_path, tree(**{name: 1}))])
    with pytest.raises(ConfigError, match="nonsense"):
        parse([*REQUIRED, f"--{name}", "1"])


@pytest.mark.parametrize(
    ("name", "meant"), [("encoder.sise", "encoder.size"), ("inptu.uri", "input.uri"), ("ray.score.mx", "ray.score.max")]
)
def test_a_misspelt_setting_is_answered_with_the_one_that_may_be_meant(name: str, meant: str, tmp_path: Path) -> None:
    nested: Any = 3
    for key in reversed(name.split(".")):
        nested = {key: nested}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(nested))
    for arguments in ([*REQUIRED, f"--{name}=3"], [*REQUIRED, f"--config={tmp_path / 'a.yaml'}"]):
        with pytest.raises(ConfigError, match=rf"; did you mean --{meant}\? \(see --help\)$"):
            parse(arguments)
    with pytest.raises(ConfigError) as caught:
        parse([*REQUIRED, "--nothing.at.all.like.it=3"])
    assert "did you mean" not in str(caught.value)


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_value_that_cannot_work_is_refused_in_code_with_its_name(name: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        ScoreConfig.model_validate(tree(**{name: value}))
    assert ".".join(map(str, caught.value.errors()[0]["loc"])).startswith(name)


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_value_that_cannot_work_is_refused_in_yaml_with_its_name(name: str, value: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(name)):
        parse(["--config", write_yaml(tmp_path, tree(**{name: value}))])


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_value_that_cannot_work_is_refused_as_a_flag_with_its_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=re.escape(name)):
        parse([*REQUIRED, f"--{name}={value}"])


@pytest.mark.parametrize("run_id", ["a", "2024-01-02", "20240102-030405-ab12", "A.b_c-d", "x" * 100])
def test_run_id_may_be_any_plain_name(run_id: str) -> None:
    assert parse([*REQUIRED, f"--output.run_id={run_id}"]).output.run_id == run_id


def test_window_of_zero_alone_is_allowed() -> None:
    assert parse([*REQUIRED, "--method.preset=paper", "--method.windows=0"]).method.windows == (0,)


@pytest.mark.parametrize("pool", ["encode", "score"])
def test_pool_that_begins_with_more_workers_than_it_may_have_is_refused(pool: str) -> None:
    with pytest.raises(ConfigError, match=pool):
        parse([*REQUIRED, f"--ray.{pool}.min=5", f"--ray.{pool}.max=2"])


@pytest.mark.parametrize("missing", ["input.uri", "output.uri"])
def test_required_setting_is_asked_for_by_name(missing: str) -> None:
    given = REQUIRED[2:] if missing == "input.uri" else REQUIRED[:2]
    with pytest.raises(ConfigError, match=missing):
        parse(given)


def test_table_of_settings_has_every_setting_there_is() -> None:
    assert list(SETTINGS) == list(leaves(ScoreConfig))
    default = ScoreConfig.model_validate(tree())
    assert not [name for name, (_, meant) in SETTINGS.items() if value_of(default, name) == meant]


@pytest.mark.parametrize("name", SETTINGS)
def test_setting_can_be_given_by_yaml_and_by_flag_alike(name: str, tmp_path: Path) -> None:
    written, meant = SETTINGS[name]
    more = NEEDED.get(name, {})
    value = list(meant) if isinstance(meant, tuple) else meant
    from_yaml = parse(["--config", write_yaml(tmp_path, tree(**more, **{name: value}))])
    flags = [f"--{key}={value}" for key, value in more.items()]
    from_flag = parse([*REQUIRED, *flags, f"--{name}={written}"])
    assert value_of(from_yaml, name) == value_of(from_flag, name) == meant
    assert from_yaml == from_flag


def test_a_rectangle_is_given_by_yaml_and_by_flag_alike_and_a_square_is_one_number(tmp_path: Path) -> None:
    from_yaml = parse(["--config", write_yaml(tmp_path, tree(**{"encoder.size": [280, 700]}))])
    assert (
        from_yaml
        == parse([*REQUIRED, "--encoder.size=[280,700]"])
        == parse([*REQUIRED, "--encoder.size", "[280, 700]"])
    )
    assert (from_yaml.encoder.size, from_yaml.encoder.sides) == ((280, 700), (280, 700))
    assert from_yaml.model_dump(mode="json")["encoder"]["size"] == [280, 700]
    assert ScoreConfig.model_validate_json(from_yaml.model_dump_json()) == from_yaml
    square = parse([*REQUIRED, "--encoder.size=[224,224]"])
    assert square == parse([*REQUIRED, "--encoder.size=224"]) and square.encoder.sides == (224, 224)
    assert square.model_dump(mode="json")["encoder"]["size"] == 224  # as in the settings of earlier runs


def test_old_name_of_a_setting_means_the_new_one_and_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    new = parse([*REQUIRED, "--references.near_duplicates=0.99"])
    assert not caplog.messages
    assert parse([*REQUIRED, "--references.burst=0.99"]) == new
    assert parse(["--config", write_yaml(tmp_path, tree(**{"references.burst": 0.99}))]) == new
    assert len(caplog.messages) == 2
    assert all("references.burst is called references.near_duplicates now" in said for said in caplog.messages)
    assert "burst" not in new.model_dump_json()


@pytest.mark.parametrize("preset", PRESETS)
def test_all_settings_together_are_the_same_by_yaml_and_by_flags(preset: str, tmp_path: Path) -> None:
    chosen = together(preset)
    values = {name: list(meant) if isinstance(meant, tuple) else meant for name, (_, meant) in chosen.items()}
    from_yaml = parse(["--config", write_yaml(tmp_path, tree(**values))])
    from_flags = parse([f"--{name}={written}" for name, (written, _) in chosen.items()])
    assert from_yaml == from_flags
    assert {name: value_of(from_yaml, name) for name in chosen} == {name: m for name, (_, m) in chosen.items()}


PAPER = {"method.preset": "paper"}


def test_flag_overrides_yaml_and_leaves_its_other_settings(tmp_path: Path) -> None:
    file = write_yaml(tmp_path, tree(**PAPER, **{"method.interval": 0.5, "method.windows": [4], "encoder.size": 224}))
    config = parse(["--config", file, "--method.interval", "0.7"])
    assert config.method.interval == 0.7
    assert config.method.windows == (4,)
    assert config.encoder.size == 224


def test_later_yaml_overrides_an_earlier_one(tmp_path: Path) -> None:
    first = write_yaml(tmp_path, tree(**PAPER, **{"method.interval": 0.5, "encoder.size": 224}), "a.yaml")
    second = write_yaml(tmp_path, {"method": {"interval": 0.6}}, "b.yaml")
    config = parse(["--config", first, "--config", second])
    assert config.method.interval == 0.6
    assert config.encoder.size == 224


@pytest.mark.parametrize("preset", PRESETS)
def test_settings_survive_being_written_as_json(preset: str) -> None:
    config = parse([f"--{name}={written}" for name, (written, _) in together(preset).items()])
    assert ScoreConfig.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize("preset", PRESETS)
def test_printed_configuration_can_be_fed_back(preset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [f"--{name}={written}" for name, (written, _) in together(preset).items()]
    with pytest.raises(SystemExit) as caught:
        parse([*flags, "--print_config"])
    assert caught.value.code == 0
    (tmp_path / "printed.yaml").write_text(capsys.readouterr().out)
    assert parse(["--config", str(tmp_path / "printed.yaml")]) == parse(flags)


def test_configuration_can_be_printed_before_any_setting_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(["--print_config"])
    assert caught.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["method"] == {
        "preset": "lakescore",
        "name": None,
        "variance": 0.99,
        "degrees": [1, 3, 5],
        "interval": 0.3,
        "windows": [1, 2, 3],
        "fuse_degrees": False,
        "projection": "none",
        "projection_width": 256,
    }


@pytest.mark.parametrize(
    "content",
    [b"", b"- 1\n- 2\n", b"input: {uri: [", b"\xff\xfe\x00\x80", b"encoder: 3\n", b"a\tb: c: d"],
    ids=["empty", "a list", "cut", "not UTF-8", "a group that is a number", "no YAML"],
)
def test_yaml_that_cannot_be_used_is_a_configuration_error_of_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "score.yaml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        parse([*REQUIRED, "--config", str(tmp_path / "score.yaml")])
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("name", ["absent.yaml", ""])
def test_yaml_that_is_not_there_is_a_configuration_error_that_names_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path / name))):
        parse(["--config", str(tmp_path / name)])


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [*REQUIRED, "--encoder.size", "many"],
        [*REQUIRED, "--encoder.layers", "[last]"],
        [*REQUIRED, "--method.windows", "[0, 1]"],
        [*REQUIRED, "--nonsense"],
        [*REQUIRED, "stray"],
        ["--input.uri"],
    ],
    ids=" ".join,
)
def test_wrong_setting_is_an_error_of_one_line(arguments: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(arguments)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("flag", ["--encoder.size=many", "--method.interval=7", "--nonsense=1"])
def test_job_ends_a_wrong_setting_with_code_2_and_one_line_of_error(flag: str) -> None:
    done = run_job(*REQUIRED, flag)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert flag.strip("-").partition("=")[0] in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert [name for name in SETTINGS if f"--{name}" not in shown] == []


@pytest.mark.parametrize("dtype", ["fp16", "bf16", "int8"])
def test_faiss_with_fewer_bits_is_refused(dtype: str) -> None:
    with pytest.raises(ConfigError, match=f"faiss searches in fp32; use kind gemm or auto for {dtype}"):
        parse([*REQUIRED, "--search.kind=faiss", f"--search.dtype={dtype}"])
    for kind in ("gemm", "auto"):
        assert parse([*REQUIRED, f"--search.kind={kind}", f"--search.dtype={dtype}"]).search.dtype == dtype
    assert parse([*REQUIRED, "--search.kind=faiss"]).search.dtype == "auto"


@pytest.mark.parametrize(
    "flags",
    [["source=pinned"], ["pinned=a.csv"], ["source=window", "pinned=a.csv"]],
    ids=" ".join,
)
def test_pinned_references_and_their_source_go_together(flags: list[str]) -> None:
    with pytest.raises(
        ConfigError, match="references: .*source pinned and the manifest of pinned references go together"
    ):
        parse([*REQUIRED, *(f"--references.{flag}" for flag in flags)])


@pytest.mark.parametrize("rule", ["recall", "best_f1"])
def test_rules_that_need_labels_are_for_images(rule: str) -> None:
    assert parse([*REQUIRED, f"--decision.image.rule={rule}"]).decision.image.fitted
    with pytest.raises(ConfigError, match=f"decision.pixel.rule {rule} needs labels of images"):
        parse([*REQUIRED, f"--decision.pixel.rule={rule}"])


@pytest.mark.parametrize(("rule", "works"), [("quantile", False), ("share", False), ("recall", False), ("fixed", True)])
@pytest.mark.parametrize("flag", ["value=1.5", "categories={a: 1.5}"])
def test_quantiles_and_shares_are_1_at_most_and_distances_2(rule: str, works: bool, flag: str) -> None:
    flags = [*REQUIRED, f"--decision.image.rule={rule}", f"--decision.image.{flag}"]
    if works:
        assert parse(flags).decision.image.rule == rule
        return
    with pytest.raises(ConfigError, match=f"decision.image: .*1.5 is no value of rule {rule}"):
        parse(flags)


@pytest.mark.parametrize("rule", ["share", "fixed"])
@pytest.mark.parametrize("of", ["image", "pixel"])
def test_shares_and_distances_have_no_usual_value(of: str, rule: str) -> None:
    """0.95 of all images are no defects, and no distance is right for every encoder."""
    flag = f"--decision.{of}.rule={rule}"
    with pytest.raises(ConfigError, match=f"decision.{of}: .*rule {rule} needs a value"):
        parse([*REQUIRED, flag])
    decision = parse([*REQUIRED, flag, f"--decision.{of}.categories={{nut: 0.5}}"]).decision
    assert getattr(decision, of).of("nut") == rule and getattr(decision, of).of("bolt") == "auto"


def test_a_value_that_is_usual_is_the_same_setting_written_out_or_not() -> None:
    """Runs are compared by their settings: a window would else be lost for a word."""
    usual = {"image": (("auto", 0.02), ("quantile", 0.95), ("recall", 0.95)), "pixel": (("quantile", 0.999),)}
    for what, rules in usual.items():
        for rule, value in rules:
            short = [*REQUIRED, f"--decision.{what}.rule={rule}"]
            assert parse(short).decision == parse([*short, f"--decision.{what}.value={value}"]).decision
    assert parse(REQUIRED).decision.model_dump() == {
        "image": {"rule": "auto", "value": 0.02, "categories": {}},
        "pixel": {"rule": "auto", "value": None, "categories": {}},
    }


NEEDS = {"method.degrees": ["--method.preset=paper"], "method.windows": ["--method.preset=paper"]}
LISTS = {"encoder.layers": (5, 11), "method.degrees": (3, 5), "method.windows": (1, 8, 9), "encoder.size": (280, 700)}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("form", ["{}", "[{}]", "({})"])
def test_a_list_is_written_with_commas_in_yaml_and_as_a_flag(name: str, form: str, tmp_path: Path) -> None:
    written = form.format(", ".join(map(str, LISTS[name])))
    group, _, field = name.partition(".")
    (tmp_path / "c.yaml").write_text(f"{group}:\n  {field}: {written}\n")
    for arguments in ([f"--{name}", written.replace(" ", "")], ["--config", str(tmp_path / "c.yaml")]):
        assert getattr(getattr(parse([*REQUIRED, *NEEDS.get(name, []), *arguments]), group), field) == LISTS[name]


@pytest.mark.parametrize("name", ["encoder.layers", "method.degrees", "method.windows"])
def test_one_number_is_a_list_of_it_and_words_are_refused_without_names_of_types(name: str) -> None:
    group, _, field = name.partition(".")
    assert getattr(getattr(parse([*REQUIRED, *NEEDS.get(name, []), f"--{name}=7"]), group), field) == (7,)
    for wrong in ("a,b", "1 2", "1,,2"):
        with pytest.raises(ConfigError, match=f"^{name}: ") as caught:
            parse([*REQUIRED, f"--{name}={wrong}"])
        assert not re.search("function|pydantic|0x", str(caught.value))


@pytest.mark.parametrize("run_id", ["20261122", "007", "0x10", "0b1", "1_2", "2026-11-22", "12e"])
def test_names_that_look_like_numbers_stay_as_they_are_written(run_id: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        f"output:\n  run_id: {run_id}\ndecision:\n  image:\n    categories: {{01: 0.125, 7: 0.25}}\n"
    )
    config = parse([*REQUIRED, "--config", str(tmp_path / "c.yaml")])
    assert config.output.run_id == run_id and config.decision.image.categories == {"01": 0.125, "7": 0.25}


@pytest.mark.parametrize("run_id", ["1.50", "1e3", "yes", ".inf"])
def test_a_name_that_reads_as_another_value_is_refused(run_id: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(f"output:\n  run_id: {run_id}\n")
    with pytest.raises(ConfigError, match="^output.run_id: ") as caught:
        parse([*REQUIRED, "--config", str(tmp_path / "c.yaml")])
    assert "0x" not in str(caught.value) and len(str(caught.value)) < 400


PATHS = ("input.uri", "input.labels", "output.uri", "encoder.weights", "references.pinned")


@pytest.mark.parametrize("path", ["$HOME/lake", "${DATA}/lake", "/data/$LINE/lake", "s3://bucket/${NIGHT}"])
@pytest.mark.parametrize("name", [*PATHS, "input.roots"])
def test_a_variable_in_a_path_is_refused_and_named(name: str, path: str) -> None:
    source = ["--references.source=pinned"] if name == "references.pinned" else []
    value = f'["{path}"]' if name == "input.roots" else path
    with pytest.raises(ConfigError, match=rf"^{name}: variables such as .* are not expanded"):
        parse([*REQUIRED, *source, f"--{name}", value])


@pytest.mark.parametrize("path", ["/data/c$/lake", "/data/price$list", "/data/$", "/data/100$"])
def test_a_path_may_hold_a_dollar(path: str) -> None:
    assert parse([*REQUIRED, "--input.uri", path]).input.uri == path


@pytest.mark.parametrize("rule", ["quantile", "share", "fixed", "recall"])
@pytest.mark.parametrize("flag", ["value=95", "categories={nut: 95}"])
def test_a_value_in_percent_is_refused_with_a_usual_one(rule: str, flag: str) -> None:
    with pytest.raises(ConfigError, match=r"^decision.image.*: 95 is no value of .*: 0 to 1, e\.g\. 0\.95"):
        parse([*REQUIRED, f"--decision.image.rule={rule}", f"--decision.image.{flag}"])
