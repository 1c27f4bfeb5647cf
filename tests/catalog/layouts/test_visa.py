"""VisA's split file, as spreadsheets and people on Windows write it."""

import pytest

from pipeline.catalog.layouts import VISA_SPLIT, Item, arrange
from pipeline.errors import CatalogError

IMAGES = ["candle/Data/Images/Normal/0.JPG", "candle/Data/Images/Anomaly/1.JPG", "candle/Data/Masks/Anomaly/1.png"]


def items(split: bytes) -> list[Item]:
    return list(arrange("visa", [*IMAGES, VISA_SPLIT], "lake", lambda path: split))


@pytest.mark.parametrize("delimiter", [",", ";"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("before", ["", "./"])
@pytest.mark.parametrize("slash", ["/", "\\"])
def test_split_is_read_however_it_was_written(delimiter: str, start: str, before: str, slash: str) -> None:
    image, anomaly, mask = (f"{before}{path}".replace("/", slash) for path in IMAGES)
    rows = ["object,split,label,image,mask", f"candle,test,Normal,{image},", f"candle,Test,ANOMALY,{anomaly},{mask}"]
    assert items((start + "\n".join(rows)).replace(",", delimiter).encode()) == [
        Item(IMAGES[0], "candle", False),
        Item(IMAGES[1], "candle", True, (IMAGES[2],)),
    ]


def test_a_row_that_is_too_short_is_refused() -> None:
    with pytest.raises(CatalogError, match="1cls.csv cannot be used"):
        items(b"object,split,label,image,mask\ncandle,test,normal\n")
