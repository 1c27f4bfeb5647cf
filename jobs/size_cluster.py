#!/usr/bin/env python
"""Print what lakes of some sizes ask of a cluster: nodes, hours and dollars, by the planner that cuts a run's work.

size_cluster.py
size_cluster.py --images 250000 --categories 40 --hours 4 --dollars 0.45
"""

import sys

from jsonargparse.typing import ClosedUnitInterval, PositiveFloat, PositiveInt

from pipeline.command import exit_code, job_parser
from pipeline.errors import ConfigError
from pipeline.log import show_log

PATCH, MOST = 14, 100_000_000
ASSUMED = """\
ASSUMED, nothing of it measured on a GPU: {products:.3g} multiply-adds a second (a bit more than half
of an A10G's 70 TFLOP/s of half precision), 600 GB/s of memory for LNAMD, 0.5 GB/s from the
bucket for each node, {ready:g} minutes for a node to come and to go. Encoder ViT-L/14 at {size} pixels,
{encoded:.0f} images a second; references.mode auto; search.memory_gb 16. Decoding keeps up (4 to 8 CPUs
a GPU for photographs of some megapixels). Not in it: maps and metrics, the control plane, the
head, and requests to the bucket.
Prices: ${dollars:g} a node and hour (default: g5.2xlarge on demand in us-east-1, $1.212,
and 12 % for EKS Auto Mode; spot is often half or less), $0.023 a GB and month of S3."""


def main() -> None:
    parser = job_parser(__doc__)
    parser.add_argument(
        "--images",
        type=PositiveInt,
        nargs="+",
        default=[10_000, 100_000, 1_000_000, 10_000_000],
        help="Of the lake; one size or more.",
    )
    parser.add_argument("--categories", type=PositiveInt, default=100, help="Among which the images are spread evenly.")
    parser.add_argument("--new", type=ClosedUnitInterval, default=0.02, help="Share of it that is new each night.")
    parser.add_argument("--hours", type=PositiveFloat, default=8, help="That a run may take.")
    parser.add_argument("--products", type=PositiveFloat, default=2e13, help="Multiply-adds a second of one GPU.")
    parser.add_argument("--size", type=PositiveInt, default=518, help="encoder.size, in pixels.")
    parser.add_argument("--dollars", type=PositiveFloat, default=1.36, help="Of one node with one GPU, an hour.")
    arguments = parser.parse_args()
    if arguments.size < PATCH:
        raise ConfigError(f"--size {arguments.size} is less than one patch of {PATCH} pixels")
    if max(arguments.images) > MOST:
        raise ConfigError(f"--images {max(arguments.images):,} is more than can be planned at once, {MOST:,}")

    from pipeline.config import ReferencesConfig
    from pipeline.plan.cost import Rates
    from pipeline.plan.sizing import Night, Node, Work, size_night
    from pipeline.plan.units import Shape
    from pipeline.report.terminal import aligned, ruled

    layers, depth, width = 4, 24, 1024
    grid = (arguments.size // PATCH, arguments.size // PATCH)
    patches = grid[0] * grid[1]
    # Of one image: the blocks' matrices, and attention between all tokens
    forward = patches * depth * (12 * width**2 + 2 * patches * width)
    shape = Shape(width=width, bytes=2, degrees=3, comparisons=3, compared=width)
    node = Node(
        Rates(products=arguments.products, aggregated=2e10, read=5e8),
        encoded=arguments.products / forward,
        memory=16e9,
        ready=600,
        dollars_an_hour=arguments.dollars,
    )

    def cells(night: Night | None) -> list[str]:
        if night is None:
            return ["-", f"> {arguments.hours:g}", "-"]
        return [str(night.nodes), f"{night.hours:.1f}", f"{night.dollars:,.0f}"]

    rows = [["images", "features TB", "$ a month", "first: GPUs", "hours", "$", "nightly: GPUs", "hours", "$"]]
    for images in arguments.images:
        new = max(1, round(images * arguments.new))
        stored = images * layers * patches * width * 2
        nights = [
            size_night(
                Work(of, images, arguments.categories, grid), arguments.hours, node, ReferencesConfig(), layers, shape
            )
            for of in (images, new)
        ]
        rows.append(
            [
                f"{images:,}",
                f"{stored / 1e12:.2f}",
                f"{stored / 1e9 * 0.023:,.0f}",
                *cells(nights[0]),
                *cells(nights[1]),
            ]
        )
    print("\n".join(ruled(aligned(rows))))
    print()
    print(
        ASSUMED.format(
            products=arguments.products,
            ready=node.ready / 60,
            size=arguments.size,
            encoded=node.encoded,
            dollars=arguments.dollars,
        )
    )


if __name__ == "__main__":
    show_log()
    sys.exit(exit_code(main))
