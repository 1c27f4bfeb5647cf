"""What a report lacks, said in the log."""

import logging

import pyarrow as pa
import pyarrow.compute as pc

SAID = 5  # images that are named in the log where something of them could not be done

log = logging.getLogger(__name__)


def missed(what: str, rows: pa.Table) -> pa.Table:
    """Return the rows whose `detail` says why an image lacks something, and say so of some of them in the log.

    Workers send the reasons along, since what they log stays in the log of their node.
    """
    lost = rows.filter(pc.is_valid(rows["detail"]))
    for row in lost.slice(0, SAID).to_pylist():
        log.warning("no %s of %r: %s", what, row["uri"], row["detail"])
    if lost.num_rows > SAID:
        log.warning("no %s of %d more images", what, lost.num_rows - SAID)
    return lost
