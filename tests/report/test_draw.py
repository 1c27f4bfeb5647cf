"""Drawing: files of a report, what an image that cannot be drawn costs, and what is not read at all."""

import io
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipeline.boxes import box_uri
from pipeline.config import InputConfig
from pipeline.errors import StoreUnavailable
from pipeline.io.storage import Location
from pipeline.metrics.stream import MAP_SCALE
from pipeline.report import draw as stage
from pipeline.report import pictures
from pipeline.report.draw import Drawing, draw
from pipeline.report.missed import SAID
from pipeline.report.original import Original
from pipeline.schema.tables import EXPLAINED, PATCHES
from pipeline.stage import Here
from pipeline.values import LakeValues
from tests.geometries import lake_of

GRID, SIDE = (4, 6), 64
SIZE = (90, 60)  # width and height of the images
FOUND_OF = {"worst": 8, "normal": 3}  # patches of all of them
SCALES = {"nut": (0.2, 1.0), "bolt": (0.2, 1.0)}


class Night:
    """A few images of a lake, their maps with a square above the threshold, and what scoring said of them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lake = folder, folder / "lake"
        self.output = Location.parse(str(folder / "out"))
        self.report = self.output / "report"
        self.rows: list[dict[str, Any]] = []

    def add(self, category: str = "nut", mask: bool = False, **evidence: Sequence[str]) -> int:
        """Write an image; `evidence` and `evidence_normal` name its references."""
        n = len(self.rows)
        pixels = np.random.default_rng(n).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
        uri = write(self.lake / f"{n}.png", pixels)
        if mask:
            white = np.zeros((SIZE[1], SIZE[0]), np.uint8)
            white[:30, :45] = 255
            write(self.lake / f"{n}_mask.png", white)
        levels = np.full((SIDE, SIDE), 0.5)
        levels[16:32, 32:48] = 0.9
        write(self.folder / "out" / f"maps/{n}.png", (levels / MAP_SCALE).round().astype(np.uint16))
        row: dict[str, Any] = {"category": category, "uri": uri, "etag": Location.parse(uri).entry().etag}
        row |= {"map_uri": f"maps/{n}.png", "width": SIZE[0], "height": SIZE[1], "pixel_threshold": 0.7}
        row["size"] = (self.lake / f"{n}.png").stat().st_size
        row["masks"] = [str(self.lake / f"{n}_mask.png")] if mask else []
        self.rows.append(row | {name: [match(to) for to in names] for name, names in evidence.items()})
        return n

    def draw(self, numbers: Sequence[int] | None = None, values: LakeValues | None = None) -> list[int]:
        scores = pa.Table.from_pylist(self.rows, schema=SCORES)
        numbers = range(len(self.rows)) if numbers is None else numbers
        found = PATCHES.rows({"image": n, **FOUND_OF} for n in numbers)
        limits = InputConfig(uri=str(self.lake), max_pixels=100_000)
        roots = (Location.parse(str(self.lake)),)
        drawing = Drawing(self.report, self.output, limits, roots, lake_of((SIDE, SIDE), GRID, values), MAP_SCALE)
        return draw(drawing, scores, scores.select(["size", "masks"]), found, SCALES, Here())

    def files(self) -> dict[str, bytes]:
        root = Path(self.report.path)
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    def detail(self, n: int) -> Any:
        text = self.files()[f"details/0/{n}.js"].decode("ascii")
        assert text.startswith(f"LAKESCORE.detail({n}, ") and text.endswith(");\n")
        return json.loads(text.removeprefix(f"LAKESCORE.detail({n}, ").removesuffix(");\n"))


SCORES = pa.schema(
    [
        *((name, pa.string()) for name in ("category", "uri", "etag", "map_uri", "region_uri", "region_etag")),
        *((name, pa.int32()) for name in ("width", "height", "original_width", "original_height")),
        ("pixel_threshold", pa.float64()),
        ("size", pa.int64()),
        ("masks", pa.list_(pa.string())),
        *EXPLAINED.arrow,
    ]
)


def write(path: Path, pixels: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return str(path)


def match(uri: str) -> dict[str, Any]:
    """Return a reference's patch, as its file is now."""
    return {"uri": uri, "etag": Location.parse(uri).entry().etag, "x": 0.25, "y": 0.625, "distance": 0.125}


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content), formats=("WEBP",))


def test_an_image_has_all_files_of_the_report_and_they_say_the_same(tmp_path: Path) -> None:
    night = Night(tmp_path)
    one = night.add()
    two = night.add(mask=True, evidence=[night.rows[one]["uri"]], evidence_normal=[night.rows[one]["uri"]])
    assert night.draw() == [one, two]
    files = night.files()
    crops = [f"crops/0/{one}-0.webp", f"crops/0/{one}-1.webp", *(f"crops/0/{two}-{i}.webp" for i in range(4))]
    usual = [f"{kind}/0/{n}.{ending}" for n in (one, two) for kind, ending in KINDS.items()]
    assert sorted(files) == sorted(usual + crops)
    for n in (one, two):
        assert opened(files[f"images/0/{n}.webp"]).size == opened(files[f"thumbs/0/{n}.webp"]).size == SIZE
        assert opened(files[f"heat/0/{n}.webp"]).size == (256, 171)
    assert {opened(files[name]).size for name in crops} == {(96, 96)}
    detail = night.detail(two)
    [outline] = detail["contour"]
    assert np.allclose(np.min(outline, axis=0), [0.5, 0.25], atol=0.01)
    assert np.allclose(np.max(outline, axis=0), [0.75, 0.5], atol=0.01)
    [mask] = detail["truth"]
    assert np.allclose(np.max(mask, axis=0), 0.5, atol=0.01) and np.min(mask) == 0
    assert detail["worst"] == [0.4167, 0.375]  # patch 8 of 4 x 6: row 1, column 2
    found = {"n": one, "uri": night.rows[one]["uri"], "x": 0.25, "y": 0.625, "distance": 0.125}
    assert detail["evidence"] == {
        "worst": [found | {"crop": f"crops/0/{two}-1.webp"}],
        "normal": [found | {"crop": f"crops/0/{two}-3.webp"}],
        "patch": f"crops/0/{two}-0.webp",
        "normal_patch": f"crops/0/{two}-2.webp",
    }
    assert night.detail(one)["truth"] is None and night.detail(one)["evidence"]["worst"] == []


def test_what_was_not_looked_at_of_an_image_is_known(tmp_path: Path) -> None:
    night = Night(tmp_path)
    everywhere, left, gone = night.add(), night.add(), night.add()
    mask = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    mask[:, :45] = 255
    uri = write(tmp_path / "region.png", mask)
    night.rows[left] |= {"region_uri": uri, "region_etag": Location.parse(uri).entry().etag}
    night.rows[gone] |= {"region_uri": str(tmp_path / "gone.png"), "region_etag": "1"}
    assert night.draw() == [0, 1, 2]
    [seen] = night.detail(left)["seen"]
    assert np.min(seen, axis=0).tolist() == [0, 0] and np.max(seen, axis=0).tolist() == [0.5, 1]
    assert "seen" not in night.detail(everywhere) and "seen" not in night.detail(gone)


def test_a_large_image_has_tiles_too_and_its_details_say_which(tmp_path: Path) -> None:
    night = Night(tmp_path)
    small, large = night.add(), night.add()
    path = night.lake / f"{large}.png"
    uri = write(path, np.random.default_rng(0).integers(0, 256, (20, 4100, 3), np.uint8))
    told = {"etag": Location.parse(uri).entry().etag, "size": path.stat().st_size, "width": 4100, "height": 20}
    night.rows[large] |= told
    night.add(evidence=[uri])  # as a reference it has none
    assert night.draw() == [0, 1, 2]
    files = night.files()
    tiles = {name.removeprefix(f"tiles/0/{large}/") for name in files if name.startswith("tiles/")}
    names = [*(f"0-{column}-0" for column in range(5)), *(f"1-{column}-0" for column in range(3))]
    assert tiles == {f"{name}.webp" for name in (*names, "2-0-0", "2-1-0")}
    assert opened(files[f"tiles/0/{large}/0-4-0.webp"]).size == (4, 20)
    levels = [[4100, 20], [2050, 10], [1025, 5]]
    assert night.detail(large)["tiles"] == {"picture": 1024, "side": 1024, "levels": levels}
    assert "tiles" not in night.detail(small)


def test_an_image_that_is_damaged_where_only_tiles_look_is_not_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    night = Night(tmp_path)
    lost, other = night.add(), night.add()
    monkeypatch.setattr(Original, "strips", lambda self: (_ for _ in ()).throw(ValueError("no end")))
    monkeypatch.setattr(stage, "levels", lambda size: [size])
    assert night.draw() == []
    assert [f"no picture of {night.rows[n]['uri']!r}: no end" in caplog.messages for n in (lost, other)] == [True, True]


def test_pictures_and_crops_show_the_bits_that_count_in_their_category(tmp_path: Path) -> None:
    night = Night(tmp_path)
    for category in ("nut", "bolt"):  # 10 bits in nuts
        bright = np.full((SIZE[1], SIZE[0]), 800 if category == "nut" else 51_200, np.uint16)
        other = write(night.lake / f"{category}.png", bright)
        n = night.add(category, evidence=[other])
        uri = write(night.lake / f"{n}.png", bright)
        night.rows[n] |= {"etag": Location.parse(uri).entry().etag, "size": (night.lake / f"{n}.png").stat().st_size}
    assert night.draw(values=LakeValues({"nut": 10})) == [0, 1]
    files = night.files()
    for n in (0, 1):
        for name in (f"images/0/{n}", f"thumbs/0/{n}", f"crops/0/{n}-0", f"crops/0/{n}-1"):
            assert abs(np.asarray(opened(files[f"{name}.webp"]).convert("RGB")).mean() - 200) < 5, name


KINDS = {"thumbs": "webp", "images": "webp", "heat": "webp", "details": "js"}


def test_images_that_are_not_chosen_are_cut_as_references_and_not_drawn(tmp_path: Path) -> None:
    night = Night(tmp_path)
    one = night.add()
    two = night.add(evidence=[night.rows[one]["uri"]])
    assert night.draw([two]) == [two]
    assert sorted(night.files()) == sorted(
        [*(f"{kind}/0/{two}.{end}" for kind, end in KINDS.items()), *(f"crops/0/{two}-{i}.webp" for i in range(3))]
    )
    assert night.detail(two)["evidence"]["worst"][0]["n"] == one


def test_drawing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    night = Night(tmp_path)
    night.add(evidence=[night.rows[night.add(mask=True)]["uri"]])
    night.draw()
    first = night.files()
    night.draw()
    assert night.files() == first


def test_each_image_is_read_once_however_many_look_at_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "SOURCES", 2)
    night = Night(tmp_path)
    one = night.add()
    for _ in range(4):
        night.add(evidence=[night.rows[one]["uri"]] * 3)
    read: list[str] = []
    read_bytes = Location.read_bytes

    def noted(location: Location, etag: str | None = None) -> bytes:
        read.append(location.path)
        return read_bytes(location, etag)

    monkeypatch.setattr(Location, "read_bytes", noted)
    assert night.draw() == [0, 1, 2, 3, 4]
    images = [path for path in read if path.startswith(str(night.lake))]
    assert sorted(images) == sorted(row["uri"] for row in night.rows)


def test_an_image_that_changed_or_is_damaged_costs_its_own_pictures_and_crops(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    night = Night(tmp_path)
    changed, damaged, gone, large = (night.add() for _ in range(4))
    seen = night.add(evidence=[night.rows[n]["uri"] for n in (changed, damaged, gone, large)])
    write(night.lake / f"{changed}.png", np.zeros((50, 50, 3), np.uint8))
    for n, content in ((damaged, b"no image"), (large, (night.lake / f"{seen}.png").read_bytes())):
        (night.lake / f"{n}.png").write_bytes(content)
    (night.lake / f"{gone}.png").unlink()
    for n in (damaged, large):
        night.rows[n]["etag"] = Location.parse(night.rows[n]["uri"]).entry().etag
    night.rows[seen]["evidence"] = [
        {**at, "etag": night.rows[n]["etag"]} for n, at in enumerate(night.rows[seen]["evidence"])
    ]
    night.rows[large]["size"] = 1 << 40
    with caplog.at_level(logging.WARNING):
        assert night.draw() == [seen]
    assert len(caplog.messages) == 4 and all(night.rows[n]["uri"] in caplog.text for n in range(4))
    found = night.detail(seen)["evidence"]["worst"]
    assert [(at["n"], at["crop"]) for at in found] == [(n, None) for n in (changed, damaged, gone, large)]
    assert all(name.split("/")[-1].startswith(f"{seen}") for name in night.files())


def test_many_lost_images_take_few_lines_of_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    night = Night(tmp_path)
    for _ in range(SAID + 3):
        (night.lake / f"{night.add()}.png").unlink()
    with caplog.at_level(logging.WARNING):
        assert night.draw() == []
    assert len(caplog.messages) == SAID + 1 and caplog.messages[-1] == "no picture of 3 more images"


def test_a_reference_that_the_run_does_not_list_is_read_below_the_lake_only(tmp_path: Path) -> None:
    night = Night(tmp_path)
    pixels = np.zeros((60, 90, 3), np.uint8)
    inside, outside = write(night.lake / "earlier/a.png", pixels), write(tmp_path / "secret.png", pixels)
    (night.lake / "link.png").symlink_to(outside)
    names = [inside, outside, str(night.lake / ".." / "secret.png"), str(night.lake / "link.png")]
    matches = [match(inside), *({**match(outside), "uri": name} for name in [*names[1:], "ftp://host/a.png"])]
    night.add()
    night.rows[0]["evidence"] = matches
    assert night.draw() == [0]
    found = night.detail(0)["evidence"]["worst"]
    assert [at["crop"] for at in found] == ["crops/0/0-1.webp", None, None, None, None]
    assert [at["uri"] for at in found] == [*names, "ftp://host/a.png"] and [at["n"] for at in found] == [None] * 5


def test_a_box_of_a_reference_is_read_where_its_photograph_may_be(tmp_path: Path) -> None:
    night = Night(tmp_path)
    pixels = np.zeros((60, 90, 3), np.uint8)
    inside, outside = write(night.lake / "earlier/a.png", pixels), write(tmp_path / "secret.png", pixels)
    (night.lake / "link.png").symlink_to(outside)
    night.add()
    uris = [box_uri(uri, (0, 0, 30, 40)) for uri in (inside, outside, str(night.lake / "link.png"))]
    night.rows[0]["evidence"] = [
        {**match(file), "uri": uri} for file, uri in zip([inside, outside, outside], uris, strict=True)
    ]
    assert night.draw() == [0]
    found = night.detail(0)["evidence"]["worst"]
    assert [at["crop"] for at in found] == ["crops/0/0-1.webp", None, None] and [at["uri"] for at in found] == uris


def test_a_reference_in_an_older_version_is_not_shown_as_it_is_now(tmp_path: Path) -> None:
    night = Night(tmp_path)
    one = night.add()
    night.add(evidence=[night.rows[one]["uri"]])
    night.rows[1]["evidence"][0]["etag"] = "before"
    assert night.draw() == [0, 1]
    [found] = night.detail(1)["evidence"]["worst"]
    assert (found["n"], found["crop"], found["uri"]) == (None, None, night.rows[one]["uri"])


def test_a_map_or_a_mask_that_cannot_be_read_costs_no_other_image(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    night = Night(tmp_path)
    without, blind, other = night.add(), night.add(mask=True), night.add()
    Path((night.output / night.rows[without]["map_uri"]).path).write_bytes(b"no map")
    (night.lake / f"{blind}_mask.png").write_bytes(b"no mask")
    with caplog.at_level(logging.WARNING):
        assert night.draw() == [blind, other]
    assert len(caplog.messages) == 1 and night.rows[without]["uri"] in caplog.text
    assert night.detail(blind)["truth"] is None  # why is said where pixels are measured
    assert f"details/0/{without}.js" not in night.files()


def test_images_without_a_map_are_left_out(tmp_path: Path) -> None:
    night = Night(tmp_path)
    night.add()
    scores = pa.Table.from_pylist(night.rows, schema=SCORES)
    found = PATCHES.rows([{"image": 0}])
    drawing = Drawing(night.report, night.output, InputConfig(uri="in"), (), lake_of((SIDE, SIDE), GRID), MAP_SCALE)
    assert draw(drawing, scores, scores, found, SCALES, Here()) == [] and night.draw([]) == [] and not night.files()


@pytest.mark.parametrize("picture", ["crop", "heat"])
def test_a_library_that_fails_costs_one_image(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, picture: str
) -> None:
    night = Night(tmp_path)
    broken, other = night.add(), night.add()
    drawn, calls = getattr(pictures, picture), []

    def fails_once(*arguments: Any) -> bytes:
        calls.append(arguments)
        if len(calls) == 1:
            raise ValueError("encoding error 6")
        content: bytes = drawn(*arguments)
        return content

    monkeypatch.setattr(pictures, picture, fails_once)
    with caplog.at_level(logging.WARNING):
        assert night.draw() == [other]
    assert caplog.messages == [f"no picture of {night.rows[broken]['uri']!r}: encoding error 6"]


def test_a_store_that_does_not_answer_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    night = Night(tmp_path)
    night.add()

    def silent(*_: object) -> bytes:
        raise StoreUnavailable("it does not answer")

    monkeypatch.setattr(Location, "read_bytes", silent)
    with pytest.raises(StoreUnavailable):
        night.draw()


def test_names_of_the_lake_end_neither_a_line_nor_a_string_of_the_details(tmp_path: Path) -> None:
    night = Night(tmp_path)
    name = "\u2028</script>'\"\\\n{größe}.png"
    night.add()
    uri = write(night.lake / name, np.zeros((60, 90, 3), np.uint8))
    night.rows[0]["evidence"] = [match(uri)]
    assert night.draw() == [0]
    [found] = night.detail(0)["evidence"]["worst"]
    assert found["uri"] == uri and found["crop"] is not None
    assert night.files()["details/0/0.js"].count(b"\n") == 1
