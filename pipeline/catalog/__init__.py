"""What there is to score: layouts of data sets, and manifests."""

from pipeline.catalog.catalog import Catalog, build_catalog
from pipeline.catalog.categories import check_categories

__all__ = ["Catalog", "build_catalog", "check_categories"]
