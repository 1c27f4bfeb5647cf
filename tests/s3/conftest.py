"""An S3 server that fails as it is told."""

from collections.abc import Iterator

import pytest

from tests.s3.proxy import FaultyProxy


@pytest.fixture
def faulty(s3_environment: dict[str, str]) -> Iterator[FaultyProxy]:
    """Another address of the server, which fails as it is told."""
    with FaultyProxy(s3_environment) as proxy:
        yield proxy
