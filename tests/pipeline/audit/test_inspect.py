"""What footers say of a split, and what follows from it: files written by pyarrow and by us, in several ways."""

import io
import struct
from dataclasses import replace

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from pipeline.audit.advice import LARGE_ROW_GROUP_BYTES, WORKERS, advise
from pipeline.audit.facts import CardFacts, Spread, split_facts
from pipeline.hub.listing import DataFile
from pipeline.parquet.features import features_of
from pipeline.parquet.footer import Footer
from pipeline.parquet.layout import Kind, Layout
from pipeline.parquet.writer import FileWriter

MB = 1_000_000
NO_CARD = CardFacts()
TABLE = pa.table({"id": range(900), "text": [f"row number {i}" for i in range(900)]})


def _footer(data):
    length = struct.unpack("<I", data[-8:-4])[0]
    return Footer(raw=data[-8 - length : -8])


def _facts(*files, card=NO_CARD, on_xet=True, large_bytes=LARGE_ROW_GROUP_BYTES):
    listed = [
        DataFile(path=f"data/{i}.parquet", size=len(data), xet_hash="ab" if on_xet else None)
        for i, data in enumerate(files)
    ]
    footers = [_footer(data) for data in files]
    return split_facts("default", "train", listed, footers, card=card, large_bytes=large_bytes)


def _ours(kind, table=TABLE, rows=300):
    sink = io.BytesIO()
    writer = FileWriter(sink, table.schema, layout=Layout(kind=kind), features=features_of(table.schema))
    for start in range(0, table.num_rows, rows):
        writer.write_row_group(table.slice(start, rows))
    writer.close()
    return sink.getvalue()


def _recorded(value, **options):
    """A file whose writer recorded what it did, as `datasets` and pyspark_huggingface do."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, TABLE.schema, use_content_defined_chunking=True, **options) as writer:
        writer.write_table(TABLE)
        writer.add_key_value_metadata({"content_defined_chunking": value})
    return sink.getvalue()


def test_sizes_are_those_of_files_and_row_groups(parquet_bytes):
    """Files, rows and row groups are counted; the spread of sizes is in bytes as stored."""
    data = [parquet_bytes(TABLE, row_group_size=400), parquet_bytes(TABLE.slice(0, 100))]
    facts = _facts(*data)
    groups = [
        sum(one.row_group(i).column(c).total_compressed_size for c in range(2))
        for one in (pq.read_metadata(io.BytesIO(data)) for data in data)
        for i in range(one.num_row_groups)
    ]
    assert (facts.files, facts.rows, facts.row_groups, facts.size) == (2, 1000, 4, len(data[0]) + len(data[1]))
    assert facts.row_group_rows == Spread(min=100, median=100, max=400)
    assert (facts.row_group_size.min, facts.row_group_size.max) == (min(groups), max(groups))
    assert (facts.largest_file, facts.largest_file_rows) == ("data/0.parquet", 900)


@pytest.mark.parametrize(
    ("data", "layout"),
    [
        (_ours(Kind.BLOCKS), "blocks"),
        (_ours(Kind.BLOCKS, rows=900), "blocks"),
        (_recorded('{"min_chunk_size": 262144}'), "editable"),
        (_recorded("true", write_page_index=True), "editable"),
        (_recorded("false"), "plain"),
        (_ours(Kind.BLOCKS, TABLE.slice(0, 0)), "empty"),
    ],
)
def test_the_layout_is_told_from_the_footer(data, layout):
    """Pads before every row group are `blocks`, a recorded chunking is `editable`, no rows are `empty`."""
    assert _facts(data).layouts == {layout: 1}


def test_files_of_pyarrow_are_plain(parquet_bytes):
    """A file whose writer recorded nothing is `plain`; layouts are counted by file."""
    assert _facts(parquet_bytes(TABLE), parquet_bytes(TABLE), _ours(Kind.BLOCKS)).layouts == {"plain": 2, "blocks": 1}


def test_a_mix_that_carries_the_key_of_its_sources_along_is_blocks():
    """What the byte ranges show counts for more than a key that was copied with a schema's metadata."""
    table = TABLE.replace_schema_metadata({"content_defined_chunking": "true"})
    assert _facts(_ours(Kind.BLOCKS, table)).layouts == {"blocks": 1}


def test_statistics_page_index_features_and_storage_are_counted_by_file(parquet_bytes):
    """Each is counted where the file has it; a file without rows lacks neither statistics nor page index."""
    bare = parquet_bytes(TABLE, write_statistics=False)
    facts = _facts(bare, _ours(Kind.EDITABLE), parquet_bytes(TABLE.slice(0, 0)))
    assert (facts.files_with_statistics, facts.files_with_page_index, facts.files_with_features) == (2, 2, 1)
    assert (facts.files_on_xet, _facts(bare, on_xet=False).files_on_xet) == (3, 0)


def test_columns_say_type_size_codec_and_encoding(parquet_bytes):
    """Each Parquet column, in its order, under its path; sizes are compressed, shares add up to 1."""
    table = pa.table(
        {
            "id": pa.array(range(900), pa.int32()),
            "tags": [[f"t{i % 5}"] for i in range(900)],
            "image": [{"bytes": b"%d" % i, "path": None} for i in range(900)],
        }
    )
    codecs = {"id": "none", "tags.list.element": "zstd", "image.bytes": "snappy", "image.path": "snappy"}
    data = parquet_bytes(
        table,
        compression=codecs,
        use_dictionary=["tags.list.element"],
        column_encoding={"id": "DELTA_BINARY_PACKED"},
    )
    card = CardFacts(features={"image": {"_type": "Image"}, "id": {"dtype": "int32", "_type": "Value"}})
    id_, tags, image, path = _facts(data, card=card).columns
    assert [one.name for one in (id_, tags, image, path)] == ["id", "tags.list.element", "image.bytes", "image.path"]
    assert (id_.type, id_.feature, id_.codecs, id_.encodings) == ("int32", None, ("none",), ("delta_binary_packed",))
    assert (tags.type, tags.codecs, tags.encodings) == ("string", ("zstd",), ("dictionary",))
    assert (image.type, image.feature, image.codecs, image.encodings) == ("binary", "Image", ("snappy",), ("plain",))
    column = pq.read_metadata(io.BytesIO(data)).row_group(0).column(2)
    assert (image.size, image.num_bytes) == (column.total_compressed_size, column.total_uncompressed_size)
    assert sum(one.share for one in (id_, tags, image, path)) == pytest.approx(1)


def test_booleans_are_plain(parquet_bytes):
    """What encodes the levels is not taken for the values' encoding."""
    assert _facts(parquet_bytes({"x": [[True], [False]]})).columns[0].encodings == ("plain",)


def test_features_of_a_footer_count_where_the_card_has_none():
    """A ClassLabel, and one in a list, are named; plain values are not."""
    features = {
        "label": {"names": ["a", "b"], "_type": "ClassLabel"},
        "labels": {"feature": {"names": ["a"], "_type": "ClassLabel"}, "_type": "List"},
        "x": {"dtype": "int64", "_type": "Value"},
    }
    table = pa.table({"label": [0], "labels": [[0]], "x": [1]})
    sink = io.BytesIO()
    writer = FileWriter(sink, table.schema, layout=Layout(kind=Kind.EDITABLE), features=features)
    writer.write_row_group(table)
    writer.close()
    assert [column.feature for column in _facts(sink.getvalue()).columns] == ["ClassLabel", "ClassLabel", None]


def test_columns_that_differ_between_files_are_named(parquet_bytes):
    """One that a file lacks, and one of two types; an order that differs is none."""
    one = parquet_bytes({"a": [1], "b": ["x"], "c": [1]})
    other = parquet_bytes({"b": ["x"], "a": [1.5]})
    facts = _facts(one, other)
    assert facts.varying == ("a", "c")
    assert {column.name: column.type for column in facts.columns} == {
        "a": "int64 / double",
        "b": "string",
        "c": "int64",
    }
    assert _facts(one, one).varying == ()


def test_a_split_without_files_has_one_finding():
    """Its patterns match nothing: that is all there is to say, and the numbers are zeros."""
    facts = _facts()
    assert (facts.files, facts.rows, facts.largest_file, facts.row_group_size.max) == (0, 0, None, 0)
    assert [finding.name for finding in advise(facts)] == ["no-files"]


@pytest.fixture
def good(parquet_bytes):
    """The facts of a split of 10 GB of which nothing is wrong."""
    table = TABLE.append_column("image", [[b"x"] * 900])
    facts = _facts(_ours(Kind.BLOCKS, table), card=CardFacts(features={}))
    files = 1024
    return replace(
        facts,
        files=files,
        rows=900 * files,
        size=10 * MB * files,
        row_groups=2 * files,
        file_size=Spread(min=10 * MB, median=10 * MB, max=10 * MB),
        row_group_size=Spread(min=5 * MB, median=5 * MB, max=5 * MB),
        layouts={"blocks": files},
        files_with_page_index=files,
        files_with_statistics=files,
        files_on_xet=files,
    )


def test_a_good_split_has_no_finding(good):
    """Row groups of 5 MB in equal files, with all that readers look for: nothing to say."""
    assert advise(good) == ()


def _image(good, **changes):
    *others, image = good.columns
    return {"columns": (*others, replace(image, **changes))}


BETTER = {
    "large-row-groups": lambda good: {
        "large_row_groups": 3,
        "row_group_size": Spread(min=5 * MB, median=5 * MB, max=102 * MB),
    },
    "small-row-groups": lambda good: {"row_group_size": Spread(min=1, median=60_000, max=5 * MB)},
    "few-row-groups": lambda good: {"row_groups": WORKERS - 1},
    "few-files": lambda good: {
        "files": 64, "layouts": {"blocks": 64}, "files_with_page_index": 64, "files_with_statistics": 64, "files_on_xet": 64,
    },
    "uneven-files": lambda good: {"largest_file_rows": good.rows * 3 // 4},
    "no-statistics": lambda good: {"files_with_statistics": good.files - 1},
    "no-page-index": lambda good: {"files_with_page_index": 0},
    "no-dedup-layout": lambda good: {"layouts": {"plain": 7, "blocks": good.files - 7}},
    "compressed-media": lambda good: _image(good, codecs=("snappy",), size=99 * MB, num_bytes=100 * MB),
    "not-on-xet": lambda good: {"files_on_xet": 24},
    "no-card-features": lambda good: {"features_on_card": False},
    "mixed-schemas": lambda good: {"varying": ("a", "b")},
    "wrong-row-count": lambda good: {"rows_on_card": 5},
}  # fmt: skip

SAYS = {
    "large-row-groups": (102 * MB, "3 of 2,048 row groups are over 64 MB (up to 102 MB)"),
    "small-row-groups": (60_000, "half of the 2,048 row groups have at most 60.0 kB"),
    "few-row-groups": (255, "255 row groups for 256 workers"),
    "few-files": (64, "64 files for 256 workers"),
    "uneven-files": (0.75, "data/0.parquet holds 75% of the rows of 1,024 files"),
    "no-statistics": (1, "1 of 1,024 files is without statistics"),
    "no-page-index": (1024, "all 1,024 files are without a page index"),
    "no-dedup-layout": (7, "7 of 1,024 files are without a sign of content-defined chunking or blocks"),
    "compressed-media": (0.01, "snappy saves 1.0% of 100 MB in image"),
    "not-on-xet": (1000, "1,000 of 1,024 files are not in Xet storage"),
    "no-card-features": (3, "the card lists none of its 3 columns"),
    "mixed-schemas": (2, "2 columns ('a', 'b') are not the same in all 1,024 files"),
    "wrong-row-count": (5, "the card says 5 rows, the files have 921,600"),
}


@pytest.mark.parametrize("name", BETTER)
def test_each_weakness_is_one_finding_with_its_number(good, name):
    """What is there, the number it rests on, and what to do: each on one line."""
    (finding,) = advise(replace(good, **BETTER[name](good)))
    value, text = SAYS[name]
    assert finding.name == name
    assert finding.value == pytest.approx(value)
    assert finding.what.startswith(text)
    assert finding.todo
    assert "\n" not in finding.what + finding.todo


def test_compression_that_saves_something_is_no_weakness(good):
    """Bytes that a codec shrinks by a tenth, and text however little it shrinks, are left alone."""
    assert advise(replace(good, **_image(good, codecs=("zstd",), size=90 * MB, num_bytes=100 * MB))) == ()
    text = _image(good, type="string", codecs=("zstd",), size=100 * MB, num_bytes=100 * MB)
    assert advise(replace(good, **text)) == ()


def test_two_files_are_uneven_only_when_one_is_much_larger(good):
    """Of two files one always has half of the rows; three quarters are worth a word."""
    two = replace(good, files=2, rows=1000, largest_file_rows=740)
    assert "uneven-files" not in {finding.name for finding in advise(two)}
    assert "uneven-files" in {finding.name for finding in advise(replace(two, largest_file_rows=760))}


def test_a_small_split_is_left_in_peace(parquet_bytes):
    """A split that is read in a request is not told of layouts, row groups and workers."""
    facts = _facts(parquet_bytes(TABLE, write_statistics=False), card=CardFacts(features={}), on_xet=False)
    assert advise(facts) == ()


def test_a_hundred_megabytes_in_one_row_group_are_found(parquet_bytes):
    """From a real footer: row groups over the limit are counted, and how large the largest is."""
    data = parquet_bytes({"x": [b"x" * 1000] * 3000}, compression="none", use_dictionary=False, row_group_size=2000)
    facts = _facts(data, card=CardFacts(features={}), large_bytes=1_500_000)
    (large,) = (finding for finding in advise(facts) if finding.name == "large-row-groups")
    assert facts.large_row_groups == 1
    assert large.what.startswith("1 of 2 row groups is over 64 MB (2.0 MB)")
