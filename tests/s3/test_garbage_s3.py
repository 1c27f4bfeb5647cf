"""Features in a bucket are swept as those in a folder."""

import time
from typing import Any

import numpy as np

from pipeline.io.storage import Location
from pipeline.schema.tables import IMAGE_STATS
from pipeline.store.features import FeatureStore, feature_key
from pipeline.store.garbage import Tally, sweep
from tests.published import FINGERPRINT, publish, row


def test_unused_features_of_a_bucket_go_when_the_stores_clock_says_that_they_are_old(bucket: str) -> None:
    output = Location.parse(bucket) / "scores"
    store = FeatureStore(output / "features" / FINGERPRINT, (3, 2), 8, (2,), "float16")
    for uri in ("used", "unused"):
        key = feature_key(uri, f"{uri}-1", FINGERPRINT)
        rows: dict[str, list[Any]] = {name: [1] for name in ("width", "height", *IMAGE_STATS.names)}
        rows |= {"key": [key], "uri": [uri]}
        store.write("a b", rows, np.zeros((1, 1, 6, 8), np.float32), np.zeros((1, 5), np.float32))
    publish(output.uri, "one", [row("a b", "used", 0.5)])
    [early] = sweep(output, time.time() - 3600, drop=True)
    assert (early.young, early.garbage) == (1, Tally())
    [found] = sweep(output, time.time() + 3600, drop=True)
    assert (found.kept.files, found.garbage.files) == (1, 1)
    assert list(store.find("a b").images) == [feature_key("used", "used-1", FINGERPRINT)]
