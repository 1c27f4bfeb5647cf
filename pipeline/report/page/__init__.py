"""The page that an inspector opens: static files beside its data, for a browser with neither server nor network."""

from pipeline.report.page.facts import CHUNK, PageExtras
from pipeline.report.page.write import write_page

__all__ = ["CHUNK", "PageExtras", "write_page"]
