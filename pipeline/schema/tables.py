"""Every table that crosses a room, column by column."""

import pyarrow as pa

from pipeline.schema.table import Column, TableSchema

# One image has four numbers, each with a name of its own
IMAGE = Column("image", pa.int64(), "Row of the run's catalog, and of its scores: the image's number in all stages.")
POSITION = Column("position", pa.int64(), "Place among the encoded images of its category.")
REFERENCE = Column("reference", pa.int64(), "Place among the references of its category.")
ROW = Column("row", pa.int32(), "Row of its file of features.")

CATEGORY = Column("category", pa.string(), "Name of the category.")
URI = Column("uri", pa.string(), "Address of the image.")
ETAG = Column("etag", pa.string(), "Tag of its content, as the store has it.")
LABEL = Column("label", pa.bool_(), "True for anomalous, null where nobody knows.")
GROUP = Column("group", pa.string(), "Name of the part that it is a view of; null where it is of none.")
MASKS = Column(
    "masks", pa.list_(pa.string()), "Addresses of its masks: none of normal images, and where there are none."
)
REGION = (
    Column("region_uri", pa.string(), "Address of a mask of where to look in it; null: everywhere."),
    Column("region_etag", pa.string(), "Tag of that mask's content."),
)
SIZE = Column("size", pa.int64(), "Size of its file.", "bytes")
REASON = Column("reason", pa.string(), "Why it is quarantined, of a fixed list; null where it is not.")
DETAIL = Column("detail", pa.string(), "The reason in words.")
WIDTH = Column("width", pa.int32(), "Width of the upright original.", "pixels")
HEIGHT = Column("height", pa.int32(), "Height of the upright original.", "pixels")
ROWS = Column("rows", pa.int32(), "Rows of its grid of patches.", "patches")
COLUMNS = Column("columns", pa.int32(), "Columns of its grid of patches.", "patches")
COUNTED = Column("counted", pa.string(), "Which of its patches count, packed; null: all.")
THIN = Column("thin", pa.int64(), "Every which row and column of a reference's patches is compared with; 1: all.")
# Before a row of DECIDED is made, width and height are those of a box's photograph: the file's, which limits are on
BOXED = TableSchema(
    "Where an image that is a box of a photograph lies there; all are null of whole photographs.",
    (
        Column("box_left", pa.int32(), "Left edge of the box.", "pixels"),
        Column("box_top", pa.int32(), "Upper edge of the box.", "pixels"),
        Column("box_right", pa.int32(), "Right edge of the box, outside of it.", "pixels"),
        Column("box_bottom", pa.int32(), "Lower edge of the box, outside of it.", "pixels"),
        Column("original_width", pa.int32(), "Width of the upright photograph.", "pixels"),
        Column("original_height", pa.int32(), "Height of the upright photograph.", "pixels"),
    ),
)
BOX = BOXED.without("original_width", "original_height")
FILE = Column("file", pa.string(), "Path of its file of features, below tokens/ and images/ of the store.")
MAP_URI = Column("map_uri", pa.string(), "Its anomaly map, below the output: a file of MAPS, and behind # its row.")
SCORE = Column("score", pa.float64(), "score_raw over its threshold: above 1 it is anomalous.", "times the threshold")
SCORE_RAW = Column(
    "score_raw",
    pa.float64(),
    "How far its worst patches are from the references, which compares between runs.",
    "distance, 0 to 2",
)
SCORE_FINAL = Column(
    "score_final", pa.float64(), "The paper's final score, relative to its run; null of other presets.", "0 to 1"
)
STDERR = Column("stderr", pa.float64(), "Standard error of score_raw that a sample of references brings.", "distance")
REFERENCES_COUNT = Column("references", pa.int64(), "How many other images it was compared with.", "images")
THRESHOLD = Column("threshold", pa.float64(), "score_raw above which its category is anomalous.", "distance")
RULE = Column("rule", pa.string(), "How the threshold was found.")
THRESHOLD_FACTS = (
    Column("threshold_low", pa.float64(), "The least that the threshold may be: 5 % of draws.", "distance"),
    Column("threshold_high", pa.float64(), "The most that it may be: 95 % of draws.", "distance"),
    Column("false_alarms", pa.float64(), "Normal images that are expected above it.", "share"),
    Column("recall", pa.float64(), "Defects that are expected above it.", "share"),
)
REGIONS_COUNT = Column(
    "regions", pa.int64(), "How many regions of its map stand out; 0 where it is not anomalous, null where not known."
)
AREA_SHARE = Column("area_share", pa.float64(), "How much of the image they cover.", "share of the image")
FAMILY = Column("family", pa.string(), "Family of its defects, that of the largest area; null where not known.")
PIXEL_THRESHOLD = Column("pixel_threshold", pa.float64(), "Value above which pixels of its map are.", "distance")
IMAGE_STATS = TableSchema(
    "What an image looks like, in three numbers.",
    (
        Column("brightness", pa.float32(), "Mean of its grey values.", "share of full scale"),
        Column("contrast", pa.float32(), "Deviation of its grey values.", "share of full scale"),
        Column("sharpness", pa.float32(), "Mean step between neighbouring grey values.", "share of full scale"),
    ),
)
# Of what workers return: it is told to whoever shows progress, and dropped
COUNT = Column("count", pa.int64(), "How much of a stage's progress the row stands for.")


def with_count(table: TableSchema) -> TableSchema:
    """Return what a worker says of each row of a table."""
    return TableSchema(table.about, (*table.columns, COUNT))


# ---- what there is to score

MANIFEST = TableSchema(
    "What a manifest is read for, beside columns of its own.",
    (
        *(URI, CATEGORY, LABEL, Column("mask_uri", pa.string(), "Address of its mask.")),
        REGION[0],
        GROUP,
    ),
)
LABELS = TableSchema(
    "The CSV of what people said of images.",
    (
        *(URI, Column("label", pa.string(), "normal, defect or another usual word.")),
        Column("family", pa.string(), "What people call the family of its defects; the column may be absent."),
    ),
)
CATALOG = TableSchema(
    "The images of a lake, sorted by category and uri.",
    (
        *(IMAGE, URI, CATEGORY, LABEL, MASKS),
        Column("reviewed", pa.bool_(), "Whether the label is a person's, from input.labels."),
        *REGION,
        GROUP,
        *(SIZE, ETAG, REASON, DETAIL),
    ),
)
LISTED = TableSchema("The catalog that a run leaves.", CATALOG.without("image", "reason", "detail"))
SELECTION = TableSchema(
    "What a run has to encode: rows of its catalog, and pinned references that it does not list, numbered behind.",
    (
        *CATALOG.columns,
        Column("input", pa.bool_(), "Whether it is an image of this run's lake."),
        Column("pinned", pa.bool_(), "Whether somebody pinned it as a reference."),
    ),
)

# ---- features

DEPTHS = TableSchema(
    "What is found out of a file that is looked at before any is encoded.",
    (CATEGORY, Column("bits", pa.int64(), "How many its values take; null where they have no 16.")),
)
SIZES = TableSchema(
    "The size of a file that is looked at before any is encoded; null where it cannot be read.",
    (CATEGORY, WIDTH, HEIGHT),
)
DECODED = TableSchema(
    "What decoding adds to an image.",
    (
        Column("pixels", pa.large_binary(), "RGB, row by row, of the view that is encoded; null with a reason."),
        *(ROWS, COLUMNS, COUNTED, WIDTH, HEIGHT, *IMAGE_STATS.columns, REASON, DETAIL),
    ),
)
EXTRACTED = TableSchema(
    "What extracting finds out about each image: where its features lie, or a reason why it has none.",
    (
        *(IMAGE, REASON, DETAIL, WIDTH, HEIGHT, *IMAGE_STATS.columns, FILE, ROW, ROWS, COLUMNS, COUNTED),
        Column("node", pa.string(), "The node that encoded it; null where nothing had to be done."),
    ),
)
FEATURES = TableSchema(
    "images/*.parquet of the feature store, with a column `embedding` behind.",
    (Column("key", pa.string(), "Name of its content and the encoder."), URI, WIDTH, HEIGHT, *IMAGE_STATS.columns),
)
INDEXED = TableSchema(
    "index/*.parquet of the feature store: the images that files of a category hold, of many files in one.",
    (FEATURES["key"], FILE, ROW, ROWS, COLUMNS, COUNTED, URI, WIDTH, HEIGHT, *IMAGE_STATS.columns),
)

CHECKED = TableSchema(
    "A file that was looked at for damage: of features, or of the results of units.",
    (
        Column("features", pa.string(), "Path of a file of features, as `file`."),
        Column("result", pa.string(), "Path of a unit's result, below the run's unit_results/."),
        Column("detail", pa.string(), "What is wrong with it; null where nothing is."),
    ),
)

# ---- who is compared with whom

TURNED = pa.list_(pa.struct([("file", pa.string()), ("row", pa.int32())]))
INDEX = TableSchema(
    "The encoded images of a category, in the order of their positions.",
    (
        *EXTRACTED.columns,
        *REGION,
        *SELECTION.only("uri", "etag", "category", "label", "reviewed", "masks", "pinned", "input"),
        POSITION,
    ),
)
REFERENCES = TableSchema(
    "The references of a category.",
    (
        *(URI, ETAG, FILE, ROW, ROWS, COLUMNS, *REGION),
        Column("position", pa.int64(), "Its position among the category's images; -1: not scored in this run."),
        Column(
            "score_raw", pa.float64(), "What an earlier run gave it; null where it is scored in this one.", "distance"
        ),
        Column("anomalous", pa.bool_(), "What an earlier run called it; null where it is scored in this one."),
        Column("turned", TURNED, "Where its features lie when it is seen turned, in the order of the turns."),
    ),
)
TO_TURN = TableSchema(
    "References that are to be encoded as they are seen turned; `image` numbers them.",
    (IMAGE, URI, ETAG, CATEGORY, SIZE, *REGION, REASON, DETAIL),
)
NEAR_DUPLICATES = TableSchema("Pairs of a category's image and reference that are not compared.", (POSITION, REFERENCE))
COMPARED = TableSchema("What an encoded image is compared with.", (IMAGE, REFERENCES_COUNT, REASON))
REACHES = TableSchema(
    "Where the nearest patch is looked for in a category.",
    (
        CATEGORY,
        Column("radius", pa.int64(), "How far from a patch's own place; null: in the whole image.", "patches"),
        Column(
            "kept",
            pa.float64(),
            "Distances that stay as they are in the whole image, of a sample; null: not measured.",
            "share",
        ),
        Column("products", pa.float64(), "Pairs of patches that are compared.", "share"),
        THIN,
    ),
)

# ---- what scoring finds

UNITS = TableSchema(
    "The units of a category and a pass.",
    (
        CATEGORY,
        Column("layers", pa.list_(pa.int64()), "The encoder's blocks, from 0."),
        Column("start", pa.int64(), "Position of its first image."),
        Column("stop", pa.int64(), "Position behind its last image."),
        Column("total", pa.int64(), "Encoded images of the category.", "images"),
        Column("references", pa.int64(), "References of the category.", "images"),
        Column("population", pa.int64(), "Images that the references were drawn from.", "images"),
        *(ROWS, COLUMNS),
        Column("reference_block", pa.int64(), "References that are held at a time.", "images"),
        Column("digest", pa.string(), "Digest of images, references and settings: of others, it is another unit."),
        Column("mutual", pa.bool_(), "Whether the references are among the images."),
        Column(
            "radius", pa.int64(), "How far from its own place a patch is compared; null: the whole image.", "patches"
        ),
        Column("share", pa.float64(), "Pairs of patches that are compared.", "share"),
        THIN,
        Column("turns", pa.int64(), "As how many images each reference is seen, turned."),
        Column("nearest", pa.int64(), "How many nearest references an image is compared with; 0: with all.", "images"),
    ),
)
UNIT = Column("unit", pa.int64(), "Number of a unit in its pass.")
TO_SCORE = TableSchema(
    "A unit that is to be scored.",
    (UNIT, Column("pass", pa.int64(), "Number of its pass, from 0."), *UNITS.columns),
)
SCORED = TableSchema(
    "A unit that was scored.",
    (
        UNIT,
        Column("id", pa.string(), "Its name, that of its file of results."),
        Column("seconds", pa.float64(), "How long it took.", "seconds"),
        COUNT,
    ),
)
MAPPED = TableSchema(
    "An image whose map is written.",
    (
        *(IMAGE, CATEGORY, SCORE_RAW, STDERR, MAP_URI),
        Column("pixels", pa.list_(pa.int64()), "Counts of the values of a block's maps, in the block's first row."),
    ),
)
MAPS = TableSchema(
    "maps/category=<c>/*.parquet: what maps are drawn from, a row for each image.",
    (
        *(URI, ROWS, COLUMNS),
        Column("map_height", pa.int32(), "Height of the map.", "pixels"),
        Column("map_width", pa.int32(), "Width of the map.", "pixels"),
        COUNTED,
        Column(
            "patch_scores",
            pa.list_(pa.float32()),
            "Of each patch, row by row; of one that does not count that of the nearest that does.",
            "distance, 0 to 2",
        ),
    ),
)
RESCORED = TableSchema("An image whose category has been scored.", (IMAGE, SCORE_FINAL))
THRESHOLDS = TableSchema("An image, and the threshold of its category.", (IMAGE, THRESHOLD, RULE, *THRESHOLD_FACTS))
REDUCED = TableSchema(
    "An encoded image that was scored.",
    (IMAGE, CATEGORY, SCORE_RAW, STDERR, MAP_URI, SCORE_FINAL, THRESHOLD, RULE, *THRESHOLD_FACTS),
)
METRICS = TableSchema(
    "The metrics that a run leaves.",
    (
        Column(
            "category",
            pa.string(),
            "Name of the category, or of parts the product; null: the mean over those that have the metric.",
        ),
        Column("name", pa.string(), "Name of the metric."),
        Column("value", pa.float64(), "The figure; null with a reason.", "0 to 1"),
        Column("reason", pa.string(), "Why there is none."),
        Column("error", pa.float64(), "How far off a streamed figure may be.", "0 to 1"),
    ),
)
MEASURED = TableSchema(
    "What a worker finds out about a category: a row for each metric, the first with what is said of its masks.",
    (
        *METRICS.columns,
        Column("empty_masks", pa.int64(), "Anomalous images whose masks have no anomalous pixel; else 0."),
        Column("example", pa.string(), "Address of the first of them."),
        COUNT,
    ),
)
PIXELS = TableSchema(
    "The counts of maps' values that a run leaves.",
    (
        CATEGORY,
        Column(
            "counts", pa.list_(pa.int64()), "How often each value occurs in its maps, in even bins of 0 to 2.", "pixels"
        ),
    ),
)

# ---- one row for each input

MATCH = pa.struct(
    [
        ("uri", pa.string()),
        ("etag", pa.string()),
        ("x", pa.float32()),  # middle of the patch, in shares of width and height
        ("y", pa.float32()),
        ("distance", pa.float32()),
    ]
)
MATCHES = pa.list_(MATCH)
EXPLAINED = TableSchema(
    "Evidence for an image that the report draws.",
    (
        Column(
            "evidence",
            MATCHES,
            "Patches of other images nearest to its worst patch, nearest first; null where it is not drawn.",
        ),
        Column("evidence_normal", MATCHES, "The same of its most normal patch."),
    ),
)
DECIDED = TableSchema(
    "What is decided about each image, in this run or the one that its row is carried over from.",
    (
        IMAGE,
        Column("status", pa.string(), "scored or quarantined."),
        *(REASON, DETAIL, SCORE, SCORE_RAW, SCORE_FINAL, STDERR, REFERENCES_COUNT),
        Column("anomalous", pa.bool_(), "Whether score_raw is above the threshold; null where there is none."),
        *(RULE, THRESHOLD, PIXEL_THRESHOLD, REGIONS_COUNT, AREA_SHARE, FAMILY),
        Column("width", pa.int32(), "Width of the upright image, which may be a box of a photograph.", "pixels"),
        Column("height", pa.int32(), "Height of the upright image.", "pixels"),
        *BOXED.columns,
        *(*IMAGE_STATS.columns, MAP_URI),
        Column("scored_by", pa.string(), "The run that scored it."),
        Column("scored_at", pa.timestamp("s", "UTC"), "When that run started."),
    ),
)
# Of what a run leaves: run.json, which says it, and scores. 1, which is not written down: up to November 2026. Whoever
# changes a column of SCORES or a key of run.json counts up, and says in `upgrade` what earlier versions wrote instead
VERSION = 6
SCORES = TableSchema(
    "scores/: the product. A manifest's own columns stand behind.",
    (
        *(CATEGORY, URI, ETAG, *DECIDED.without("image"), LABEL),
        GROUP,
        *REGION,
        *EXPLAINED.columns,
    ),
)
KEPT = TableSchema("What later runs read of scores.", SCORES.without("label", "group"))

# ---- regions of anomalous images

FLAGGED = TableSchema(
    "An image that this run scored and calls anomalous.",
    (IMAGE, CATEGORY, URI, ETAG, MAP_URI, PIXEL_THRESHOLD, WIDTH, HEIGHT, REGION[0]),
)
REGIONS = TableSchema(
    "regions.parquet: where anomalous images are, a row for each region of their maps that stands out.",
    (
        *(CATEGORY, URI, ETAG),
        Column("region", pa.int64(), "Its number in the image, from 1, the highest peak first."),
        Column("x", pa.float64(), "Left edge of its box, in the upright image.", "pixels"),
        Column("y", pa.float64(), "Upper edge of its box.", "pixels"),
        Column("width", pa.float64(), "Width of its box.", "pixels"),
        Column("height", pa.float64(), "Height of its box.", "pixels"),
        Column("area", pa.float64(), "How much it covers of the image.", "pixels"),
        Column("area_share", pa.float64(), "The same.", "share of the image"),
        Column("peak", pa.float64(), "Largest value of the map in it.", "distance, 0 to 2"),
        Column("peak_x", pa.float64(), "Where that is.", "share of width"),
        Column("peak_y", pa.float64(), "Where that is.", "share of height"),
        Column("reference", MATCH, "The patch of another image nearest to that of its peak; null where not known."),
        Column("family", pa.string(), "Which regions of its category it is like; null where its features were gone."),
        Column("scored_by", pa.string(), "The run that scored the image."),
        *BOX,
    ),
)
FOUND = TableSchema(
    "A region that a worker found, or an image whose regions it could not find.",
    (
        *(IMAGE, *REGIONS.without("region", "family", "scored_by", *(column.name for column in BOX))),
        Column("region", pa.int64(), "Its number in the image, from 1; null for an image whose map cannot be read."),
        *(DETAIL, REGIONS_COUNT),
        Column("all_share", pa.float64(), "How much all regions of the image cover.", "share of the image"),
        Column("vectors", pa.string(), "Which of the run's arrays holds how it differs; null where that is not known."),
        Column("vector", pa.int64(), "Row of that array."),
    ),
)
FAMILIES = TableSchema(
    "families.parquet: the families of defects that are known, for the next night to call them alike.",
    (
        *(CATEGORY, Column("family", pa.string(), "Its name.")),
        Column("regions", pa.int64(), "How many regions it has, of all nights."),
        Column("centroid", pa.list_(pa.float32()), "Middle of their difference vectors, of length 1."),
    ),
)
MEMBERS = TableSchema(
    "The family of a region; the first of each family has what it is.",
    (
        *(IMAGE, Column("region", pa.int64(), "Its number in the image."), *FAMILIES.columns),
        Column("replaced", pa.list_(pa.string()), "Names that the family had, before people gave it another one."),
    ),
)

# ---- parts, of several views each

PARTS = TableSchema(
    "parts.parquet: a row for each part, which several cameras may have photographed: it is as its worst view is.",
    (
        Column("group", pa.string(), "Its name."),
        Column("product", pa.string(), "What it is one of: the categories whose images are views of the same parts."),
        Column("views", pa.int64(), "How many images are views of it.", "images"),
        Column("scored", pa.int64(), "How many of them were scored.", "images"),
        Column("quarantined", pa.int64(), "How many were not.", "images"),
        Column("complete", pa.bool_(), "Whether all views were scored: else what is not anomalous may be so unseen."),
        Column("score", pa.float64(), "The largest of its views; null where none has a score.", "times the threshold"),
        Column("anomalous", pa.bool_(), "Whether any view is; null where that was decided of none."),
        Column("label", pa.bool_(), "True where any view is labelled anomalous, false where all are normal; or null."),
        Column("worst_category", pa.string(), "Category of the view with that score; null where none was scored."),
        Column("worst_uri", pa.string(), "Address of that view."),
        Column("scored_by", pa.string(), "The run that scored that view."),
    ),
)

# ---- the report

PATCHES = TableSchema(
    "The worst and the most normal patch of an image to draw; null where its map is gone.",
    (
        *(IMAGE, URI, DETAIL),
        Column("worst", pa.int64(), "Its worst patch, counted row by row."),
        Column("normal", pa.int64(), "Its most normal patch."),
        *EXPLAINED.columns,
    ),
)
CUTS = TableSchema(
    "What is made of an image of the lake: the picture of an image of the run, or one of its crops.",
    (
        *(URI, ETAG, SIZE, CATEGORY, IMAGE),
        Column("i", pa.int64(), "Which crop; null: the picture."),
        Column("x", pa.float64(), "Its middle.", "share of width"),
        Column("y", pa.float64(), "Its middle.", "share of height"),
    ),
)
CUT = TableSchema("What became of an image of the lake.", (URI, ETAG, DETAIL))
DETAILS = TableSchema(
    "What is drawn of an image beside pictures of the lake.",
    (
        *(IMAGE, URI, CATEGORY, *REGION, MAP_URI, WIDTH, HEIGHT, *BOXED.only("original_width", "original_height")),
        *(MASKS, PIXEL_THRESHOLD),
        Column("low", pa.float64(), "Where the colours of its map begin.", "distance"),
        Column("high", pa.float64(), "Where they end.", "distance"),
        Column("about", pa.string(), "What is known already of its file of details, as JSON."),
    ),
)
DRAWN = TableSchema("What became of an image of the report.", (IMAGE, URI, DETAIL))
