"""The paper: pure functions of tensors. No Ray, no files.

Li et al., MuSc: Zero-Shot Industrial Anomaly Classification and Segmentation with Mutual Scoring of the Unlabeled
Images, ICLR 2024, arXiv 2401.16753.
"""

from pipeline.scoring.musc.lnamd import Aggregation, lnamd
from pipeline.scoring.musc.mutual import PatchScores, Search, mutual_scores, query_scores
from pipeline.scoring.musc.projection import pca, random_projection
from pipeline.scoring.musc.rscin import rscin

__all__ = [
    "Aggregation",
    "PatchScores",
    "Search",
    "lnamd",
    "mutual_scores",
    "pca",
    "query_scores",
    "random_projection",
    "rscin",
]
