"""A runner without Ray."""

from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.stage import Here


@dataclass
class Doubled:
    """Returns twice the numbers of a block, each of which counts as many."""

    asked: list[str] = field(default_factory=list)

    def setup(self, device: str, threads: int) -> None:
        self.asked.append(device)

    def __call__(self, block: pa.Table) -> pa.Table:
        return pa.table({"n": [2 * n for n in block["n"].to_pylist()], "count": block["n"]})


def test_a_stage_is_set_up_once_and_what_it_does_is_counted_as_progress() -> None:
    stage, runner = Doubled(), Here()
    with runner.progress("double", "numbers", 6) as progress:
        found = runner(stage, [pa.table({"n": [1]}), pa.table({"n": [5]})], progress)
        assert progress._done == 6
    assert found.to_pylist() == [{"n": 2}, {"n": 10}] and stage.asked == ["cpu"]
