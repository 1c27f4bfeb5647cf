"""What a threshold is found from: which labels count."""

import numpy as np

from pipeline.tables.known import Known

OWN = np.array([0.1, 0.2, np.nan, 0.4, np.inf, 0.6])
LABELS = [False, True, True, None, False, True]
REVIEWED = [True, False, True, True, True, True]


def test_labels_count_where_there_is_a_label_and_a_score() -> None:
    found = Known(OWN, OWN, labels=LABELS).labelled()
    assert found.scores.tolist() == [0.1, 0.2, 0.6] and found.defects.tolist() == [False, True, True]
    assert found.has(1) and not found.has(2)


def test_of_reviewed_ones_only_those_that_a_person_gave() -> None:
    found = Known(OWN, OWN, labels=LABELS, reviewed=REVIEWED).labelled(reviewed=True)
    assert found.scores.tolist() == [0.1, 0.6] and found.defects.tolist() == [False, True]


def test_nothing_is_labelled_where_no_labels_are_told_and_nothing_reviewed_where_no_reviews_are() -> None:
    assert Known(OWN, OWN).labelled().scores.size == 0
    assert Known(OWN, OWN, labels=LABELS).labelled(reviewed=True).scores.size == 0
    assert Known(np.empty(0), OWN).labelled(reviewed=True).has(0)


def test_chosen_images_keep_their_labels() -> None:
    found = Known(OWN, OWN, labels=LABELS).labelled()
    assert found[np.array([2, 0])].scores.tolist() == [0.6, 0.1]
    assert found[found.defects].defects.all() and found[found.defects].scores.tolist() == [0.2, 0.6]
