"""The paper: pure functions of tensors. No Ray, no files.

Li et al., MuSc: Zero-Shot Industrial Anomaly Classification and Segmentation with Mutual Scoring of the Unlabeled
Images, ICLR 2024, arXiv 2401.16753.
"""
