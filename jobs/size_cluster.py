#!/usr/bin/env python
"""Print what lakes of some sizes ask of a cluster: nodes, hours and dollars, by the planner that cuts a run's work.

size_cluster.py
size_cluster.py --images 250000 --categories 40 --hours 4 --dollars 0.45
size_cluster.py --images 10000000 --gpus 256
"""

import sys
from pathlib import Path
from typing import Literal

from jsonargparse.typing import ClosedUnitInterval, PositiveFloat, PositiveInt

from pipeline.command import exit_code, job_parser
from pipeline.errors import ConfigError
from pipeline.log import show_log

MOST = 100_000_000  # images that are planned at once


def main() -> None:
    parser = job_parser(__doc__)
    parser.add_argument(
        "--images",
        type=PositiveInt,
        nargs="+",
        default=[10_000, 100_000, 1_000_000, 10_000_000],
        help="Of the lake; one size or more. Stages are shown of the last one.",
    )
    parser.add_argument("--categories", type=PositiveInt, default=100, help="Among which the images are spread evenly.")
    parser.add_argument("--new", type=ClosedUnitInterval, default=0.02, help="Share of it that is new each night.")
    parser.add_argument("--masked", type=ClosedUnitInterval, default=0, help="Share of it with masks, for metrics.")
    parser.add_argument("--hours", type=PositiveFloat, default=8, help="That a run may take.")
    parser.add_argument("--gpus", type=PositiveInt, help="So many nodes, however many hours that takes.")
    parser.add_argument("--preset", type=Literal["lakescore", "paper"], default="lakescore", help="method.preset.")
    parser.add_argument("--size", type=PositiveInt, default=518, help="encoder.size, in pixels.")
    parser.add_argument("--dollars", type=PositiveFloat, default=1.36, help="Of one node with one GPU, an hour.")
    parser.add_argument("--rates", help="JSON file of what was measured: `python -m bench.rates` writes one.")
    arguments = parser.parse_args()
    if max(arguments.images) > MOST:
        raise ConfigError(f"--images {max(arguments.images):,} is more than can be planned at once, {MOST:,}")

    from pipeline.cluster_plan import Question, describe, plan_lake, read_rates
    from pipeline.plan.rates import ClusterRates, Prices

    rates = ClusterRates() if arguments.rates is None else read_rates(Path(arguments.rates))
    question = Question(
        arguments.categories,
        arguments.new,
        arguments.masked,
        arguments.preset,
        arguments.size,
        arguments.hours,
        arguments.gpus,
    )
    lakes = [plan_lake(images, question, rates) for images in arguments.images]
    print(describe(question, lakes, rates, Prices(node=arguments.dollars), arguments.rates))


if __name__ == "__main__":
    show_log()
    sys.exit(exit_code(main))
