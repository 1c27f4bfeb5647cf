"""What people call normal and anomalous, in labels and as names of folders."""

NORMAL = frozenset("good ok normal".split())
ANOMALOUS = frozenset("bad ko ng nok defect defects defective anomaly anomalies anomalous abnormal".split())

_LABELS = dict.fromkeys(NORMAL | {"0", "0.0", "false"}, False) | dict.fromkeys(ANOMALOUS | {"1", "1.0", "true"}, True)
WORDS = "write 0, false, normal, good or ok, or 1, true, defect, anomaly, bad, ng or nok"


def said(label: str) -> bool | None:
    """Return whether a label, in any case, calls an image anomalous; None where it is no word for either."""
    return _LABELS.get(label.strip().lower())
