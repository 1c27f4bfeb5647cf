"""What stands in the data can neither move a terminal's cursor nor break a table's lines."""

import pytest

from pipeline.report.terminal import aligned, ruled, shortened, stacked


def test_text_is_left_and_figures_are_right_of_their_columns() -> None:
    lines = aligned([["name", "images", "uri"], ["a", "10", "/x"], ["category", "7", "/longer"]], left=(0, 2))
    assert lines == ["name      images  uri", "a             10  /x", "category       7  /longer"]
    assert ruled(lines)[1] == "-" * 25 and ruled(lines)[2:] == lines[1:]


def test_the_widest_text_gives_way_until_the_lines_fit_and_figures_never_do() -> None:
    lines = aligned([["c" * 20, "123456789", "u" * 100], ["d", "1", "s3://lake/x"]], left=(0, 2), width=60)
    assert max(map(len, lines)) == 60
    assert lines[0].split() == ["c" * 20, "123456789", "u" * 12 + "..." + "u" * 12]
    assert lines[1].split() == ["d", "1", "s3://lake/x"]
    narrow = aligned([["c" * 20, "1" * 30, "u" * 100]], left=(0, 2), width=10)
    assert narrow[0].split() == ["ccc...cccc", "1" * 30, "uuu...uuuu"]


def test_columns_that_do_not_fit_go_below() -> None:
    lines = [["name", "images", "worst"], ["a" * 30, "10", "0.5"]]
    assert stacked(lines, 80) == ruled(aligned(lines))
    assert stacked(lines, 18) == [
        "name        images",
        "------------------",
        "aaa...aaaa      10",
        "",
        "name         worst",
        "------------------",
        "aaaa...aaaa    0.5",
    ]


@pytest.mark.parametrize("width, expected", [(9, "abcdefghi"), (8, "ab...ghi"), (7, "ab...hi"), (3, "...")])
def test_text_is_cut_in_the_middle_to_exactly_the_width(width: int, expected: str) -> None:
    assert shortened("abcdefghi", width) == expected


def test_what_is_not_printable_is_escaped_before_its_width_is_taken() -> None:
    assert aligned([["\n", "1"], ["abc", "1"]]) == ["\\n   1", "abc  1"]
