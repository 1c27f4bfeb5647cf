"""What the machines of a cluster and its bucket do, and what they cost: what a plan goes by before there are any."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ClusterRates:
    """What one GPU, one CPU, the head and the bucket do.

    Those of GPUs and of the bucket are ASSUMED, from what their makers publish: an A10G has 70 TFLOP/s of fp16 and
    600 GB/s of memory, and Amazon's guide to the performance of S3 names 85 to 90 MB/s and 0.1 to 0.2 s of a request.
    The others were measured by `python -m bench.rates`, in processor seconds of a core of
    a Xeon.

    Attributes:
        encoded: multiply-adds of the encoder in a second of a GPU.
        products: multiply-adds of comparing in a second of a GPU.
        aggregated: values averaged over neighbourhoods in a second of a GPU, of some 30 bytes of memory each.
        stream: bytes that a request moves in a second.
        request: seconds until the first byte of an answer.
        decoded: seconds of a CPU for a photograph of 5 megapixels.
        photograph: bytes of its file.
        near_duplicates: seconds of a CPU for an image that is looked for among 256 references.
        reached: multiply-adds in a second of a CPU that looks for a category's radius.
        mapped: seconds of a CPU for a million pixels of maps.
        map_bytes: bytes of what as many are drawn from.
        rescored: pairs of images that a CPU compares in a second, of preset paper.
        measured: seconds of a CPU for a million pixels of maps with masks.
        listed: seconds of the head for an image of the lake, until all is planned.
        found: seconds of the head for an image whose features are stored.
        recalled: seconds of the head for a row of an earlier night's scores.
        recalled_bytes: bytes that it holds of one.
        recorded: seconds of the head for an image of the night, from its features to its row.
        remembered: bytes that it holds of an image of the lake.
    """

    encoded: float = 2e13
    products: float = 2e13
    aggregated: float = 2e10
    stream: float = 9e7
    request: float = 0.1
    decoded: float = 0.054
    photograph: float = 9.4e5
    near_duplicates: float = 4e-5
    reached: float = 3.2e10
    mapped: float = 0.016
    map_bytes: float = 2.8e4
    rescored: float = 7e7
    measured: float = 0.01
    listed: float = 1.5e-4
    found: float = 3.5e-5
    recalled: float = 9e-7
    recalled_bytes: float = 370
    recorded: float = 4e-5
    remembered: float = 3500


@dataclass(frozen=True)
class Prices:
    """Dollars: list prices of us-east-1 in 2026, nodes with 12 % for EKS Auto Mode.

    Attributes:
        node: an hour of a node with one GPU, g5.2xlarge on demand.
        head_gb: an hour of a GB of the head's node, m7i on demand, which has 16 and as many CPUs for each four.
        put: a request that writes or lists.
        get: a request that reads.
        stored: a month of a GB in the bucket.
    """

    node: float = 1.36
    head_gb: float = 0.2258 / 16
    put: float = 0.005 / 1000
    get: float = 0.0004 / 1000
    stored: float = 0.023
