"""The paper: pure functions of tensors. No Ray, no files.

Li et al., MuSc: Zero-Shot Industrial Anomaly Classification and Segmentation with Mutual Scoring of the Unlabeled
Images, ICLR 2024, arXiv 2401.16753.
"""

from pipeline.method.evidence import Evidence, compare, nearest
from pipeline.method.lnamd import Aggregation, lnamd
from pipeline.method.maps import anomaly_maps, extreme_patches
from pipeline.method.mutual import PatchScores, Search, mutual_scores, query_scores
from pipeline.method.projection import pca, random_projection
from pipeline.method.rscin import rscin

__all__ = [
    "Aggregation",
    "Evidence",
    "PatchScores",
    "Search",
    "anomaly_maps",
    "compare",
    "extreme_patches",
    "lnamd",
    "mutual_scores",
    "nearest",
    "pca",
    "query_scores",
    "random_projection",
    "rscin",
]
