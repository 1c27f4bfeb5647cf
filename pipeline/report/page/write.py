"""The page's files: what is the same for every run, and the run's data as calls of JavaScript.

Browsers refuse fetch() of a page that was opened from disk, but not scripts.
"""

import json
from collections.abc import Mapping
from importlib.resources import files

import pyarrow as pa
from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.io.storage import Location
from pipeline.metrics.category import Metric
from pipeline.report.page.facts import CHUNK, PageExtras, image_columns, run_facts
from pipeline.report.values import finite
from pipeline.schema.record import RunRecord

# In the order in which they are run: each uses names of those before it
SCRIPTS = (
    *("dom", "format", "data", "decide", "marks", "parts", "theme", "histogram", "overview", "gallery", "filters"),
    *("closer", "stage", "image", "keys", "main"),
)


def write_page(
    report: Location,
    run: RunRecord,
    scores: pa.Table,
    metrics: Mapping[str, Mapping[str, Metric]],
    extras: PageExtras,
) -> None:
    """Write index.html, its scripts and style, and the run's data; pictures and details are for others to write.

    Args:
        report: folder or prefix of the report.
        run: run.json.
        scores: the run's scores, a row for each input; an image's number is the place of its row.
        metrics: by category, then name.
        extras: what those do not hold.

    Raises:
        StorageError: when something cannot be written.
    """
    assets = files(__package__) / "assets"
    for name in ("report.css", "icon.svg"):
        (report / name).write_bytes((assets / name).read_bytes())
    for name in SCRIPTS:
        (report / "js" / f"{name}.js").write_bytes((assets / "js" / f"{name}.js").read_bytes())
    (report / "data" / "run.js").write_bytes(_call("run", run_facts(run, scores, metrics, extras)))
    drawn = frozenset(extras.drawn)
    for chunk in range(-(-scores.num_rows // CHUNK)):
        content = _call("images", chunk, image_columns(scores, drawn, chunk))
        (report / "data" / f"images-{chunk}.js").write_bytes(content)
    templates = Environment(
        loader=PackageLoader(__package__, "assets"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    page = templates.get_template("index.html.j2").render(run_id=run.run_id, scripts=SCRIPTS)
    (report / "index.html").write_bytes(page.encode())


def _call(name: str, *values: object) -> bytes:
    """Return a call of one of the page's functions, in ASCII: no name can end a line or a string of it."""
    told = ", ".join(json.dumps(finite(value), separators=(",", ":"), allow_nan=False) for value in values)
    return f"LAKESCORE.{name}({told});\n".encode("ascii")
