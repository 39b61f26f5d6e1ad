"""The card's one list of features for a config, whoever writes one of its splits."""

import pytest

from pipeline.errors import SchemaError
from pipeline.hub.card_features import merge_features


def label(*names):
    return {"class_label": {"names": {str(number): name for number, name in enumerate(names)}}}


OLD = [
    {"name": "image", "dtype": "image"},
    {"name": "tags", "list": {"dtype": label("a", "b")}},
    {"name": "n", "dtype": "int32"},
]


@pytest.mark.parametrize("written", [None, [], [{"name": "tags", "list": "int64"}, {"name": "image", "struct": []}]])
def test_what_other_rows_mean_stays_in_the_card(written):
    """Media and labels, at any depth, of columns that are written without; the list is never dropped."""
    assert merge_features(OLD, written, config="c") == OLD


def test_plain_types_and_new_columns_come_from_what_was_written():
    """After the columns that were there, in their order."""
    written = [{"name": "new", "dtype": "image"}, {"name": "n", "dtype": "int64"}]
    assert merge_features(OLD, written, config="c") == [*OLD[:2], written[1], written[0]]


@pytest.mark.parametrize("names", [{"0": "b", "1": "a"}, ["b", "a"], ["a"]])
def test_other_labels_are_refused(names):
    """They would be those of all rows; the same names, as a list or by number, are no difference."""
    written = [{"name": "tags", "list": {"dtype": {"class_label": {"names": names}}}}]
    with pytest.raises(
        SchemaError, match=r"column 'tags' has the labels .*, and in the other rows of config 'c' a/b; give"
    ):
        merge_features(OLD, written, config="c")
    same = [{"name": "tags", "list": {"dtype": {"class_label": {"names": ["a", "b"]}}}}]
    assert merge_features(OLD, same, config="c") == OLD
