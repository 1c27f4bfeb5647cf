"""What there is to score: layouts of data sets, and manifests."""

from pipeline.catalog.catalog import Catalog, build_catalog

__all__ = ["Catalog", "build_catalog"]
