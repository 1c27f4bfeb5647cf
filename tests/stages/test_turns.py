"""References seen turned: what is encoded of them, where it is listed, and who cannot be turned any more."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from pipeline.catalog import build_catalog
from pipeline.config import ScoreConfig
from pipeline.encoders.encoder import encoder_of
from pipeline.encoders.spec import EncoderSpec
from pipeline.geometry import Geometry, LakeGeometry
from pipeline.io.storage import Location
from pipeline.progress import Progress
from pipeline.schema.tables import INDEX, NEAR_DUPLICATES, REFERENCES
from pipeline.stage import Here, Stage
from pipeline.stages.decode import DecodeBlock
from pipeline.stages.encode import extract
from pipeline.stages.score import lists_of
from pipeline.stages.turns import encode_turned
from pipeline.store.features import FeatureStore
from pipeline.store.run_folder import RunFolder, read_table, write_table
from tests.running import flags, parse, settings

HIGH, WIDE = 42, 70  # 3 x 5 patches


class DecodingHere(Here):
    """Decodes each block before the encoder gets it, and counts the images."""

    def __init__(self, config: ScoreConfig, geometry: LakeGeometry, seen: list[str]) -> None:
        self._decode, self._seen = DecodeBlock(config.input, geometry), seen

    def __call__(self, stage: Stage, blocks: Sequence[pa.Table], progress: Progress) -> pa.Table:
        names = [uri.rpartition("/")[2] for block in blocks for uri in block["uri"].to_pylist()]
        self._seen += [f"{name} {self._decode.geometry.turned}" for name in names]
        found = super().__call__(stage, [self._decode(block) for block in blocks], progress)
        return found.append_column("node", pa.nulls(found.num_rows, pa.string()))


class Lake:
    """Six images of two categories, encoded; the references of each category are listed."""

    def __init__(self, folder: Path, turns: int) -> None:
        generator = np.random.default_rng(0)
        for category, count in (("nut", 4), ("bolt", 2)):
            for number in range(count):
                path = folder / "lake" / category / f"{category}{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(generator.integers(0, 256, (HIGH, WIDE, 3), np.uint8)).save(path)
        given = settings(folder / "lake", folder / "out", encoder__size=f"[{HIGH},{WIDE}]", references__turns=turns)
        self.config = parse(flags(given))
        self.spec: EncoderSpec = encoder_of(self.config.encoder).spec
        self.run = RunFolder(Location.parse(str(folder / "out")), "test")
        root = self.run.features / self.spec.fingerprint
        self.store = FeatureStore(root, self.spec.grid, self.spec.width, self.spec.layers, "float16")
        self.geometry = LakeGeometry(Geometry(self.spec.patch, (HIGH, WIDE)))
        self.images = build_catalog(self.config.input).table
        self.encoded: list[str] = []
        found = extract(self.images, self.config, self.spec, self.geometry, self.store, self.runner(self.geometry))
        self.encoded.clear()
        rows = [of | where for of, where in zip(self.images.to_pylist(), found.images.to_pylist(), strict=True)]
        for category in ("nut", "bolt"):
            mine = [row | {"position": at} for at, row in enumerate(r for r in rows if r["category"] == category)]
            write_table(self.run.index(category), INDEX.rows({n: r.get(n) for n in INDEX.names} for r in mine))
            self.write(category, REFERENCES.rows({n: r.get(n) for n in REFERENCES.names} for r in mine))

    def write(self, category: str, references: pa.Table) -> None:
        write_table(self.run.references(category), references)

    def references(self, category: str) -> pa.Table:
        return read_table(self.run.references(category))

    def runner(self, geometry: LakeGeometry) -> DecodingHere:
        return DecodingHere(self.config, geometry, self.encoded)

    def turn(self) -> None:
        encode_turned(
            ["nut", "bolt"], self.images, self.config, self.spec, self.geometry, self.store, self.run, self.runner
        )

    def tokens(self, places: list[tuple[str, int]]) -> NDArray[Any]:
        return self.store.tokens(places, self.spec.layers[0], grid=(5, 5))


def test_each_reference_has_its_features_of_each_turn(tmp_path: Path) -> None:
    lake = Lake(tmp_path, 4)
    before = lake.references("nut")
    lake.turn()
    assert sorted(lake.encoded) == sorted(f"{name} {a}" for name in NAMES for a in (90, 180, 270))
    for category in ("nut", "bolt"):
        found = lake.references(category)
        assert [len(of) for of in found["turned"].to_pylist()] == [3] * found.num_rows
        for row in found.to_pylist():
            pixels = np.asarray(Image.open(row["uri"]))
            for turn, at in enumerate(row["turned"], 1):
                path = tmp_path / f"turned-{turn}.png"
                Image.fromarray(np.ascontiguousarray(np.rot90(pixels, -turn))).save(path)
                expected = encode(lake, path, (WIDE, HIGH) if turn % 2 else (HIGH, WIDE))
                places = lake.tokens([(at["file"], at["row"])])[0]
                grid = (5, 3) if turn % 2 else (3, 5)
                np.testing.assert_allclose(places.reshape(5, 5, -1)[: grid[0], : grid[1]], expected, atol=1e-2)
    assert lake.references("nut").drop_columns("turned").equals(before.drop_columns("turned"))
    write_table(lake.run.near_duplicates("nut", 0), NEAR_DUPLICATES.empty())
    features = lists_of(lake.store, lake.run, "nut").features
    assert [len(of) for of in features.turned] == [4, 4, 4] and features.grid == (5, 5)
    assert [len(of) for block in features.blocks(3) for of in block] == [3] * 4 + [1] * 4


NAMES = [f"nut{n}.png" for n in range(4)] + [f"bolt{n}.png" for n in range(2)]


def encode(lake: Lake, path: Path, sides: tuple[int, int]) -> NDArray[Any]:
    """Return the tokens (H, W, D) of a file, by the encoder of a lake."""
    found = encoder_of(lake.config.encoder)(np.asarray(Image.open(path))[None]).tokens[0, 0]
    return found.numpy().reshape(sides[0] // 14, sides[1] // 14, -1)


def test_what_is_stored_is_not_encoded_again(tmp_path: Path) -> None:
    lake = Lake(tmp_path, 4)
    lake.turn()
    first = lake.references("nut")
    lake.encoded.clear()
    lake.turn()
    assert lake.encoded == [] and lake.references("nut").equals(first)


def test_one_that_is_gone_is_seen_as_it_is(tmp_path: Path) -> None:
    lake = Lake(tmp_path, 4)
    rows = lake.references("nut").to_pylist()
    Path(rows[1]["uri"]).unlink()
    lake.turn()
    found = lake.references("nut").to_pylist()
    own = {"file": rows[1]["file"], "row": rows[1]["row"]}
    assert found[1]["turned"] == [own] * 3
    assert all(own not in row["turned"] for row in (found[0], found[2], found[3]))


def test_an_eighth_has_the_grid_of_the_image_and_nan_in_its_corners(tmp_path: Path) -> None:
    lake = Lake(tmp_path, 8)
    lake.turn()
    [at, *_] = lake.references("nut").to_pylist()[0]["turned"]
    tokens = lake.tokens([(at["file"], at["row"])])[0].reshape(5, 5, -1)
    assert np.isnan(tokens[3:]).all()  # beyond the image's own three rows
    missing = np.isnan(tokens[:3, :, 0])
    assert missing[[0, 0, 2, 2], [0, 4, 0, 4]].all() and not missing[1, 2]
