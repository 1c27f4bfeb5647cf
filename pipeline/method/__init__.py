"""The paper: pure functions of tensors. No Ray, no files.

Li et al., MuSc: Zero-Shot Industrial Anomaly Classification and Segmentation with Mutual Scoring of the Unlabeled
Images, ICLR 2024, arXiv 2401.16753.
"""

from pipeline.method.lnamd import lnamd
from pipeline.method.maps import anomaly_maps
from pipeline.method.mutual import Search, mutual_scores, query_scores
from pipeline.method.rscin import rscin

__all__ = ["Search", "anomaly_maps", "lnamd", "mutual_scores", "query_scores", "rscin"]
