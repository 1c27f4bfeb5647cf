"""What tests of catalogs share."""

import pytest

from pipeline.io.storage import Entry, Location


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The uris of the files that the store is asked about, as it is."""
    uris: list[str] = []
    entry = Location.entry

    def noted(self: Location) -> Entry:
        uris.append(self.uri)
        return entry(self)

    monkeypatch.setattr(Location, "entry", noted)
    return uris
