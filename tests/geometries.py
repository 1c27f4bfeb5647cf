"""Geometries of tests whose patches are no squares, so that rows and columns cannot be taken for each other."""

from dataclasses import dataclass, replace

from pipeline.geometry import Geometry, LakeGeometry
from pipeline.values import LakeValues
from pipeline.views import View


@dataclass(frozen=True)
class OneView(Geometry):
    """Shows the same view of every image."""

    view: View = View((1, 1))

    def on(self, image_size: tuple[int, int]) -> View:
        return replace(self.view, values=self.values)


def lake_of(size: tuple[int, int], grid: tuple[int, int], values: LakeValues | None = None) -> LakeGeometry:
    """Return how a lake is seen all of whose images are squeezed to a size, of a grid of any patches."""
    return LakeGeometry(OneView(1, size, view=View(size, grid)), values=values or LakeValues())
