"""What is printed: results on stdout, the rest on stderr, short and on one line."""

import json

from jobs import console
from pipeline.errors import OptionError


def test_an_error_is_one_line_on_stderr(capsys):
    """Line breaks inside a message do not break the line."""
    console.error(OptionError("first\n  second"))
    assert capsys.readouterr() == ("", "error: first second\n")


def test_a_table_has_numbers_to_the_right(capsys):
    """Columns are as wide as their widest cell, nothing trails, None is empty, thousands are marked."""
    console.table(("name", "rows"), [("a", 1_234_567), ("long name", 5)])
    console.table(("what", "share"), [("x", None), ("y", 0.12345)])
    console.table(("none",), [])
    assert capsys.readouterr().out == (
        "name            rows\n---------  ---------\na          1,234,567\nlong name          5\n"
        "what  share\n----  -----\nx\ny     0.123\n"
        "none\n----\n"
    )


def test_rows_are_short_for_people_and_whole_for_programs(capsys):
    """Text is cut at 200 characters, bytes are counted, lists end after five; as JSON nothing is left out."""
    row = {"text": "x" * 300, "data": b"\x00\x01", "list": list(range(9)), "inner": {"b": b"abc", "n": None}, "ü": "ü"}
    console.row(row, as_json=False)
    out = capsys.readouterr().out
    assert out == (
        f"text: {'x' * 197}...\ndata: <2 bytes>\nlist: [0, 1, 2, 3, 4, ...]\ninner: {{b: <3 bytes>, n: None}}\nü: ü\n\n"
    )
    console.row(row, as_json=True)
    out = capsys.readouterr().out
    assert json.loads(out) == row | {"data": "AAE=", "inner": {"b": "YWJj", "n": None}}
    assert "ü" in out


def test_a_progress_bar_is_silent_where_nobody_watches(capsys):
    """Without a terminal nothing is printed, and the bar still counts."""
    with console.progress(3, "build", "shards") as bar:
        bar.update(2)
    assert capsys.readouterr() == ("", "")
