"""The paper: pure functions of tensors. No Ray, no files.

Li et al., MuSc: Zero-Shot Industrial Anomaly Classification and Segmentation with Mutual Scoring of the Unlabeled
Images, ICLR 2024, arXiv 2401.16753.
"""

from pipeline.method.lnamd import Aggregation, lnamd
from pipeline.method.maps import anomaly_maps
from pipeline.method.mutual import PatchScores, Search, mutual_scores, query_scores
from pipeline.method.projection import pca, random_projection
from pipeline.method.rscin import rscin

__all__ = [
    "Aggregation",
    "PatchScores",
    "Search",
    "anomaly_maps",
    "lnamd",
    "mutual_scores",
    "pca",
    "query_scores",
    "random_projection",
    "rscin",
]
