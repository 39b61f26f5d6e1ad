"""JSON and text files of this machine: features and rows are those of `datasets`, or one line tells what is wrong."""

import gzip
import json
import pickle

import pyarrow as pa
import pytest

from pipeline.errors import CorruptFileError, OptionError, SchemaError
from pipeline.formats.json import json_format
from pipeline.formats.text import text_format
from pipeline.parquet.features import features_of


def lines(*rows):
    """Rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


JSON = {
    "numbers": ([lines({"a": 1, "b": True}, {"a": 2.5, "b": None})], {}),
    "times": ([lines({"a": "2020-01-01 00:00:00"}, {"a": "2020-01-01T00:00:00Z"})], {}),
    "lists": ([lines({"a": [1, 2], "b": [{"x": 1}]}, {"a": [], "b": []})], {}),
    "missing columns": ([lines({"a": 1, "b": 2}), lines({"a": 2})], {}),
    "objects of several kinds": ([lines({"a": {"x": 1}}, {"a": {"y": "z"}})], {}),
    "deeper": ([lines({"a": {"x": {"k": 1}}}, {"a": {"x": {"j": [1]}}})], {}),
    "in a list": ([lines({"a": [{"x": 1}, {"y": 2}, None]})], {}),
    "an empty object": ([lines({"a": {}}, {"a": None})], {}),
    "values of several kinds": ([lines({"a": 1}, {"a": "x"}, {"a": None}), lines({"a": {"k": [1]}}, {"a": '"q"'})], {}),
    "a number where there were strings": ([lines({"a": "x"}), lines({"a": 2})], {}),
    "nothing but null": ([lines({"a": None})], {}),
    "large numbers": ([lines({"a": 1}, {"a": 10**25})], {}),
    "blank lines": (['\n{"a":1}\n\n  \n{"a":2}'], {}),
    "a byte order mark": (["\ufeff" + lines({"a": 1})], {}),
    "a byte order mark before mixed types": (["\ufeff" + lines({"a": 1}, {"a": "x"})], {}),
    "a list": ([json.dumps([{"a": 1, "b": {"c": ["\n"]}}, {"a": 2, "b": None}], indent=2)], {}),
    "a list of strings": ([json.dumps(["x", "y"])], {}),
    "a list of numbers": (["[1,\n2]"], {}),
    "one object over lines": ([json.dumps({"a": 1, "b": [1, 2]}, indent=1)], {}),
    "latin-1": ([lines({"a": 1}).replace("1", '"\xe4"').encode("latin-1")], {"encoding": "latin-1"}),
    "a field": (
        [json.dumps({"v": {"data": [0]}, "data": [{"a": 1, "b": [1]}, {"a": 2, "b": None}], "w": 1})],
        {"field": "data"},
    ),
}
TEXT = {
    "lines": (["a\r\nb\rc\n", "\n", "d\n\n\x0b\u2028e\x0cf"], {}),
    "a byte order mark stays": (["\ufeffa\n"], {}),
    "line ends kept": (["a\n\nb"], {"keep_linebreaks": True}),
    "paragraphs": (["a\n\n\n\nb\nc\n\n", "\n\n\n", "d"], {"sample_by": "paragraph"}),
    "documents": (["a\n\nb\r\n", "", "c"], {"sample_by": "document"}),
    "latin-1": (["\xe4\nb".encode("latin-1")], {"encoding": "latin-1"}),
    "gzip, whatever its name": ([gzip.compress(b"a\nb\n")], {}),
}


@pytest.mark.parametrize(
    ("name", "files", "options"),
    [*(("json", *case) for case in JSON.values()), *(("text", *case) for case in TEXT.values())],
    ids=[*(f"json: {case}" for case in JSON), *(f"text: {case}" for case in TEXT)],
)
def test_files_are_read_as_datasets_reads_them(name, files, options, local, read_all, tmp_path):
    """Features and values."""
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    made = [local(data) for data in files]
    format = (json_format if name == "json" else text_format)(options)
    schema, rows = read_all(format, made)
    uris = [file.uri for file in made]
    expected = load_dataset(name, data_files=uris, split="train", cache_dir=str(tmp_path / "cache"), **options)
    assert features_of(schema) == expected.features.to_dict()
    assert rows == expected.data.table.to_pylist()


def test_a_list_longer_than_a_block_is_cut_between_its_elements(local, read_all):
    """Its elements come in order, also those that hold brackets, quotes and line ends in strings."""
    expected = [{"a": number, "s": ']\n"},{' * 200} for number in range(6000)]
    schema, rows = read_all(json_format({}), [local(json.dumps(expected, indent=1))])
    assert rows == expected
    assert schema.field("a").type == pa.int64()
    numbers = [1234567890] * 100_000
    assert [row["text"] for row in read_all(json_format({}), [local(json.dumps(numbers))])[1]] == numbers


@pytest.mark.parametrize(
    ("data", "options", "said"),
    [
        ('{"a":1}\n[2]\n', {}, "line 2: is no JSON"),
        ('{"a":1}\n{"a":\n', {}, "line 2: is no JSON"),
        ("1\n2\n", {}, "line 1: is no JSON"),
        ('[{"a":1}, 2]', {}, "an element of the file is '2'"),
        ('[{"a":1}', {}, "ends too early"),
        ('[{"a":1} {"a":2}]', {}, "',' or ']' was expected"),
        ('[{"a":1}, {"a"]', {}, "delimiter"),
        ('{"x":[]}', {"field": "data"}, "no field 'data'"),
        ('{"data":{}}', {"field": "data"}, "field 'data' is no list"),
        ("[]", {"field": "data"}, "no object"),
        (gzip.compress(b'{"a":1}\n' * 5000)[:-20], {}, "damaged"),
        (b"PK\x03\x04....", {}, "ZIP archive"),
    ],
)
def test_what_is_no_json_is_told_by_name(data, options, said, local, read_all):
    """And line, where there are lines."""
    with pytest.raises(CorruptFileError, match=said) as caught:
        read_all(json_format(options), [local(data, "bad.json")])
    assert "bad.json" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("later", "said"),
    [
        ('{"a":1,"b":2}', "column 'b' is not in"),
        ('{"a":"x"}', "column 'a' does not fit int64"),
        ('{"a":1.5}', "'a' does not fit"),
    ],
)
def test_a_later_file_that_does_not_fit_is_told_by_name_and_column(later, said, local, read_all):
    """In one line."""
    with pytest.raises(SchemaError, match=said) as caught:
        read_all(json_format({}), [local('{"a":1}\n'), local(later + "\n", "late.jsonl")])
    assert "late.jsonl" in str(caught.value)


def test_mixed_types_are_an_error_where_the_card_says_so(local, read_all):
    """With `on_mixed_types: null`, as in `datasets`."""
    with pytest.raises(SchemaError, match=r"line 2: column 'a' was number and is string"):
        read_all(json_format({"on_mixed_types": None}), [local(lines({"a": 1}, {"a": "x"}))])


def test_text_in_another_encoding_is_told_by_name(local, read_all):
    """With what stands there, and what to do."""
    with pytest.raises(CorruptFileError, match=r"bad\.txt: text is not utf-8 at b'\\xe4.*name its 'encoding'"):
        read_all(text_format({}), [local(b"\xe4\n", "bad.txt")])


@pytest.mark.parametrize(
    ("make", "reading"),
    [(json_format, {"field": 1}), (json_format, {"newlines_in_values": True}), (text_format, {"sample_by": "word"})],
)
def test_a_way_of_reading_that_is_none_is_refused(make, reading):
    """By its name."""
    with pytest.raises(OptionError, match=next(iter(reading))):
        make(reading)


def test_formats_and_tasks_pickle(local):
    """They go to workers."""
    for format in (json_format({"field": "x"}), text_format({"sample_by": "document"})):
        assert pickle.loads(pickle.dumps(format)) == format
    (task,) = text_format({}).plan([local("a\n")], None, 10)
    assert pickle.loads(pickle.dumps(task)) == task
