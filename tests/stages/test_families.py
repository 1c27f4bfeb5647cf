"""Families of a run at work: of each category its own, by the arrays that say how regions differ."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from pipeline.config import FamiliesConfig
from pipeline.io.storage import Location
from pipeline.schema.tables import FAMILIES, FOUND, MEMBERS
from pipeline.stage import Here
from pipeline.stages.differences import Differences, PatchGroup
from pipeline.stages.families import MADE, FindFamilies, find_families
from pipeline.stages.score import kept_lists
from pipeline.store.run_folder import RunFolder, write_array
from tests.scoring.test_families import alike, middles
from tests.stages.test_evidence import CATEGORY, Night, random_tokens
from tests.stages.test_regions import SQUARES, drawn, finder, rows


def found(run: RunFolder, vectors: NDArray[np.float32], category: str = "nut") -> pa.Table:
    """Write vectors as the arrays of two blocks, and return rows of FOUND, one of each image."""
    middle = len(vectors) // 2
    for name, part in (("a.npy", vectors[:middle]), ("b.npy", vectors[middle:])):
        write_array(run.differences(category) / name, part)
    places = [("a.npy", n) for n in range(middle)] + [("b.npy", n) for n in range(len(vectors) - middle)]
    usual: dict[str, Any] = {"category": category, "region": 1, "area": 2.0}
    own = [{"image": n, "uri": f"/{n}", "vectors": name, "vector": row} for n, (name, row) in enumerate(places)]
    return FOUND.rows([usual | of for of in own])


def finding(run: RunFolder, known: pa.Table | None = None, said: dict[str, str] | None = None) -> FindFamilies:
    return FindFamilies(FamiliesConfig(), run, FAMILIES.empty() if known is None else known, said or {})


def test_each_category_has_families_of_its_own_with_what_they_are(tmp_path: Path) -> None:
    run = RunFolder(Location.parse(str(tmp_path)), "night")
    vectors, families = alike(6, 4)
    table = pa.concat_tables([found(run, vectors), found(run, vectors, CATEGORY)])
    members = find_families(table, finding(run), Here())
    assert members.schema == MEMBERS.arrow
    for category in ("nut", CATEGORY):
        own = members.filter(pa.compute.equal(members["category"], category)).to_pylist()
        assert [row["family"] for row in own] == [f"family-{family + 1}" for family in families]
        first = [row for row in own if row["regions"] is not None]
        assert [(row["family"], row["regions"], row["image"]) for row in first] == [
            ("family-1", 6, 0),
            ("family-2", 4, 6),
        ]
        np.testing.assert_allclose([row["centroid"] for row in first], middles(6, 4), atol=1e-5)
    assert MADE.cast(finding(run)(found(run, vectors)))["count"].to_pylist() == [1] + [0] * 9


def test_names_are_those_of_the_night_before_and_of_people(tmp_path: Path) -> None:
    run = RunFolder(Location.parse(str(tmp_path)), "night")
    vectors, families = alike(6, 4)
    known = FAMILIES.rows(
        [
            {"category": "nut", "family": "family-7", "regions": 1, "centroid": middles(6, 4)[1]},
            {"category": "bolt", "family": "family-8", "regions": 1, "centroid": middles(6, 4)[0]},
        ]
    )
    members = find_families(found(run, vectors), finding(run, known), Here())
    assert list(dict.fromkeys(members["family"].to_pylist())) == ["family-8", "family-7"]
    members = find_families(found(run, vectors), finding(run, known, {"/7": "crack", "/99": "dent"}), Here())
    assert list(dict.fromkeys(members["family"].to_pylist())) == ["family-8", "crack"]
    assert [row["replaced"] for row in members.to_pylist() if row["regions"]] == [[], ["family-7"]]
    both = {"/0": "crack", "/7": "crack"}
    members = find_families(found(run, vectors), finding(run, known, both), Here())
    assert set(members["family"].to_pylist()) == {"crack"} and members["regions"].to_pylist() == [10] + [None] * 9


def test_regions_whose_differences_are_not_known_have_no_family(tmp_path: Path) -> None:
    run = RunFolder(Location.parse(str(tmp_path)), "night")
    assert find_families(FOUND.rows([{"image": 1, "region": 1}]), finding(run), Here()).num_rows == 0


def test_regions_that_differ_alike_are_found_from_maps_and_tokens(tmp_path: Path) -> None:
    tokens = random_tokens(14)
    rng = np.random.default_rng(1)
    usual = tokens[0].copy()
    one, other = rng.normal(size=(2, tokens.shape[1], tokens.shape[3])).astype(np.float32) * 3
    night_tokens = np.stack([usual + 0.01 * of for of in tokens])
    for n in range(8):  # 4 images with a defect of each kind, in the patches of the first square
        night_tokens[n, :, :8] += (one if n < 4 else other)[:, None]
    night = Night(tmp_path, night_tokens)
    for n in range(8):
        drawn(night, n, SQUARES[:1])
    made = finder(night)(rows(*range(8)))
    assert made["vector"].to_pylist() == list(range(8)) and set(made["vectors"].to_pylist()) == {"100-107.npy"}
    members = find_families(FOUND.cast(made), finding(night.run), Here())
    assert members["family"].to_pylist() == ["family-1"] * 4 + ["family-2"] * 4


def test_regions_are_compared_neither_with_their_image_nor_with_its_near_duplicates(tmp_path: Path) -> None:
    tokens = random_tokens()
    tokens[9] = tokens[4]
    groups = [PatchGroup(100 + n, np.array([1, 5]), np.array([0.5, 0.25])) for n in (4, 4, 7)]
    night = Night(tmp_path, tokens)
    night.near_duplicates([(4, 9)])
    both, again, other = Differences(night.store.layers, kept_lists(night.store, night.run))(CATEGORY, groups)
    night.compared_with([n for n in range(12) if n not in (4, 9)])
    night.near_duplicates([])
    alone, _, less = Differences(night.store.layers, kept_lists(night.store, night.run))(CATEGORY, groups)
    np.testing.assert_allclose(both, alone, atol=1e-6)
    assert np.array_equal(both, again) and not np.allclose(other, less, atol=1e-3)


def test_many_patches_are_compared_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    night = Night(tmp_path, random_tokens())
    groups = [PatchGroup(100 + n, np.array([n, 3]), np.array([0.5, 0.25])) for n in (4, 4, 7, 8)]
    whole = Differences(night.store.layers, kept_lists(night.store, night.run))(CATEGORY, groups)
    monkeypatch.setattr("pipeline.stages.differences.PATCHES", 3)
    np.testing.assert_allclose(
        Differences(night.store.layers, kept_lists(night.store, night.run))(CATEGORY, groups), whole, atol=1e-6
    )
