"""Pruning never drops a row that a filter keeps, and drops what plainly cannot match."""

import datetime
import io
import struct
from decimal import Decimal

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from pipeline.errors import DatasetError
from pipeline.parquet import bounds, prune, thrift
from pipeline.parquet.bounds import plain_schema
from pipeline.parquet.footer import Footer
from pipeline.parquet.parsed import DECODING
from pipeline.parquet.prune import FileFilter, PageIndex, kept_row_groups, page_index_ranges, possible_rows
from pipeline.predicate import filter_batch, parse_predicate

NAN, INF = float("nan"), float("inf")


def write(table, **options):
    """A file's bytes: row groups of ten rows with pages of about three, unless said otherwise."""
    sink = io.BytesIO()
    sizes = {"row_group_size": 10, "data_page_size": 1, "write_batch_size": 3, "use_dictionary": False}
    pq.write_table(table, sink, **({"write_page_index": True} | sizes | options))
    return sink.getvalue()


def open_filter(data, sql, schema=None):
    """A filter over a file's footer."""
    length = struct.unpack("<I", data[-8:-4])[0]
    footer = Footer(raw=data[-8 - length : -8])
    schema = schema or footer.schema()
    return FileFilter(footer=footer, schema=schema, predicate=parse_predicate(sql, schema))


def kept(data, sql, schema=None):
    """The row groups that a filter keeps."""
    file = open_filter(data, sql, schema)
    return kept_row_groups(file, range(file.footer.metadata().num_row_groups))


def pages(data, file, groups=None):
    """The page indexes of the filter's columns, if the file has any."""
    groups = range(file.footer.metadata().num_row_groups) if groups is None else groups
    ranges = [extent for group in groups for extent in page_index_ranges(file, group, len(data))]
    return PageIndex(pieces=[(start, data[start:end]) for start, end in ranges]) if ranges else None


def rows(data, sql, group=0):
    """The rows of a row group that the page index leaves."""
    file = open_filter(data, sql)
    return possible_rows(file, group, pages(data, file))


def check(data, sql, schema=None):
    """Nothing that matches is pruned, by statistics or by pages; returns whether something was."""
    file = open_filter(data, sql, schema)
    groups = kept_row_groups(file, range(file.footer.metadata().num_row_groups))
    index, whole, pruned = pages(data, file), pq.ParquetFile(pa.BufferReader(data), **DECODING), False
    for group in range(whole.num_row_groups):
        table = whole.read_row_group(group)
        try:
            matching = matches(table, file.predicate)
        except DatasetError:
            continue  # this filter fails on these rows, whether they are pruned is nobody's concern
        ranges = possible_rows(file, group, index) if index else [(0, table.num_rows)]
        assert group in groups or not matching, (sql, table.to_pylist())
        assert all(any(start <= row < end for start, end in ranges) for row in matching), (
            sql,
            ranges,
            table.to_pylist(),
        )
        pruned |= group not in groups or ranges != [(0, table.num_rows)]
    return pruned


def matches(table, predicate):
    """The positions of the rows for which a filter is true."""
    numbered = table.append_column("#", pa.array(range(table.num_rows)))
    batches = numbered.combine_chunks().to_batches()
    return [row for batch in batches for row in filter_batch(batch, predicate).column("#").to_pylist()]


COUNTING = pa.table(
    {
        "x": pa.array(range(40)),
        "small": pa.array(range(40), pa.int8()),
        "u": pa.array([2**63 + i for i in range(40)], pa.uint64()),
        "f": pa.array([i / 2 for i in range(40)]),
        "s": [f"k{i:02}" for i in range(40)],
        "d": pa.array([f"k{i:02}" for i in range(40)]).dictionary_encode(),
        "v": pa.array([f"k{i:02}" for i in range(40)], pa.string_view()),
        "bin": [bytes([200 + i]) for i in range(40)],
        "ts": pa.array([i * 86_400_000_000 for i in range(40)], pa.timestamp("us", "UTC")),
        "ns": pa.array([i * 86_400 * 10**9 for i in range(40)], pa.timestamp("ns")),
        "sec": pa.array([i * 86_400 for i in range(40)], pa.timestamp("s")),
        "day": pa.array([datetime.date(1970, 1, 1) + datetime.timedelta(i) for i in range(40)]),
        "dec": pa.array([Decimal(i - 20) / 4 for i in range(40)], pa.decimal128(12, 2)),
        "big": pa.array([Decimal(i - 20) for i in range(40)], pa.decimal256(50, 0)),
        "group": pa.array([i // 10 for i in range(40)]),
        "st": pa.array([{"k": i, "deep": {"t": f"k{i:02}"}} if i % 3 else None for i in range(40)]),
        "some": pa.array([i if i < 10 else None for i in range(40)]),
        "full": pa.array([1] * 10 + [None] * 10 + [1, None] * 10),
        "flag": pa.array([i < 10 for i in range(40)]),
    }
)
PLAIN_CASES = [
    ("x > 29", [3]),
    ("x = 5", [0]),
    ("5 = x", [0]),
    ("x BETWEEN 12 AND 25", [1, 2]),
    ("x < 10 OR x >= 35", [0, 3]),
    ("NOT (x < 30)", [3]),
    ("x IN (3, 35)", [0, 3]),
    ("x IN (3, NULL)", [0]),
    ("x <=> 3", [0]),
    ("x > 28.5", [2, 3]),
    ("small = 12", [1]),
    ("small > 1000", []),
    ("u >= 9223372036854775838", [3]),
    ("f > 14.5", [3]),
    ("f = 3.0", [0]),
    ("s = 'k05'", [0]),
    ("s >= 'k30'", [3]),
    ("ts >= '1970-01-31'", [3]),
    ("ns >= '1970-01-31'", [3]),
    ("sec >= '1970-01-31'", [3]),
    ("ts >= TIMESTAMP '1970-01-31 00:00:00' AND ts < '1970-02-02'", [3]),
    ("day = '1970-01-11'", [1]),
    ("dec < -2.5", [0]),
    ("big < -10", [0]),
    ("group = 2", [2]),
    ("group % 2 = 1", [1, 3]),
    ("st.k > 30", [3]),
    ("st.deep.t = 'k05'", [0]),
    ("some IS NULL", [1, 2, 3]),
    ("some IS NOT NULL", [0]),
    ("some > 5", [0]),
    ("x IS NULL", []),
    ("full IS NULL", [1, 2, 3]),
    ("full = 2", []),
    ("flag", [0]),
    ("NOT flag", [1, 2, 3]),
    ("flag AND x > 20", []),
    ("false", []),
    ("true", [0, 1, 2, 3]),
]


@pytest.mark.parametrize(("sql", "expected"), PLAIN_CASES)
def test_plain_filters_keep_only_row_groups_that_match(sql, expected):
    """Comparisons, ranges, IN, IS NULL and logic over sorted columns of every type leave just what could match."""
    data = write(COUNTING)
    assert kept(data, sql) == expected
    check(data, sql)


@pytest.mark.parametrize("column", ["d", "v"])
def test_dictionaries_and_views_prune_with_a_filter_for_what_they_stand_for(column):
    """With `plain_schema` they are pruned as plain text; with their own types they are kept, and constants still count."""
    data = write(COUNTING)
    schema = open_filter(data, "true").footer.schema()
    assert kept(data, f"{column} = 'k05'", plain_schema(schema)) == [0]
    assert kept(data, f"{column} = 'k05'") == [0, 1, 2, 3]
    constant = write(
        pa.table({column: COUNTING[column].cast("string").take([0] * 10 + [1] * 10).cast(COUNTING[column].type)})
    )
    assert kept(constant, f"{column} LIKE '%1'") == [1]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("x = 5", [(3, 6)]),
        ("x < 3 OR x > 8", [(0, 3), (9, 10)]),
        ("x > 2 AND s < 'k05'", [(3, 6)]),
        ("x > 90", []),
        ("x > 2 AND x < 3.5 AND s > 'k08'", []),
        ("x > -1", [(0, 10)]),
        ("st.k = 4", [(3, 6)]),
        ("x IS NULL", []),
    ],
)
def test_pages_leave_the_rows_of_those_that_could_match(sql, expected):
    """Ranges of rows survive where the bounds of all columns' pages there allow a match."""
    assert rows(write(COUNTING), sql) == expected


def test_pages_that_are_cut_at_different_rows_are_intersected():
    """The rows that are left are those that every column's page leaves, though their pages begin at different rows."""
    table = pa.table({"x": range(12), "s": [chr(97 + i) * (40 if i < 6 else 1) for i in range(12)]})
    data = write(table, row_group_size=12, data_page_size=30, write_batch_size=1)
    assert rows(data, "x = 5") == [(4, 8)]
    assert rows(data, "s >= 'f'") == [(5, 12)]
    assert rows(data, "x = 5 AND s >= 'f'") == [(5, 8)]
    assert rows(data, "x < 4 AND s >= 'f'") == []
    assert kept(data, "x < 4 AND s >= 'f'") == [0]


def test_the_ranges_are_those_of_the_row_group_and_its_columns():
    """One range with a large hole, two with none: each no more than the row group's own indexes, and enough to read them."""
    data = write(COUNTING)
    file = open_filter(data, "x = 35")
    ((start, end),) = page_index_ranges(file, 3, len(data))
    (first, middle), (again, last) = page_index_ranges(file, 3, 0)
    assert start == first < middle < again < last == end < len(data)
    assert last - first > 5 * (middle - first + last - again)
    assert possible_rows(file, 3, pages(data, file, [3])) == [(3, 6)]
    assert possible_rows(file, 0, pages(data, file, [3])) == []  # by its statistics
    assert page_index_ranges(open_filter(data, "true"), 3, 0) == []


def test_a_footer_of_one_row_group_prunes_like_the_whole_one():
    """Statistics and page index of a row group are found in a footer that was cut to it."""
    data = write(COUNTING)
    file = open_filter(data, "x = 35 AND s >= 'k3'")
    for group in range(4):
        alone = FileFilter(footer=file.footer.only((group,)), schema=file.schema, predicate=file.predicate)
        assert bool(kept_row_groups(alone, [0])) is (group in kept_row_groups(file, [group]))
        assert page_index_ranges(alone, 0, 99) == page_index_ranges(file, group, 99)
        assert possible_rows(alone, 0, pages(data, alone)) == possible_rows(file, group, pages(data, file))


def test_without_a_page_index_there_is_no_range():
    """A file without page indexes says so; none at hand excludes nothing that statistics do not."""
    data = write(COUNTING, write_page_index=False)
    file = open_filter(data, "x = 5")
    assert page_index_ranges(file, 0, 0) == []
    assert possible_rows(file, 0, PageIndex(pieces=[])) == [(0, 10)]
    assert possible_rows(file, 1, PageIndex(pieces=[(0, b"")])) == []


@settings(max_examples=200)
@given(st.data())
def test_a_broken_page_index_excludes_nothing_by_accident(data):
    """A page index that is cut short, shifted or foreign is an index that is not there, never an error."""
    whole = write(COUNTING)
    file = open_filter(whole, "x = 5 AND s = 'k05'")
    ((start, good),) = pages(whole, file, [0]).pieces
    cut = data.draw(st.integers(0, len(good)))
    broken = data.draw(st.sampled_from([good[:cut], good[cut:], bytes(cut) + good[cut:], good[:cut] + b"\xff" * cut]))
    rows = possible_rows(file, 0, PageIndex(pieces=[(start, broken)]))
    assert any(first <= 5 < end for first, end in rows)


def test_an_index_that_starts_elsewhere_is_none():
    """Positions before the bytes at hand are outside of them, not counted from their end."""
    data = write(COUNTING)
    file = open_filter(data, "x = 5")
    ((start, index),) = pages(data, file, [0]).pieces
    assert possible_rows(file, 0, PageIndex(pieces=[(start, index)])) == [(3, 6)]
    assert possible_rows(file, 0, PageIndex(pieces=[(start + len(index), index)])) == [(0, 10)]


@pytest.mark.parametrize(("page", "first_row"), [(0, 1), (1, 0), (2, 3), (3, 10), (3, 63)])
def test_pages_must_follow_each_other_from_the_first_row(page, first_row):
    """Pages that begin late, do not rise, or begin behind the last row are not believed."""
    data = write(COUNTING)
    file = open_filter(data, "x = 5")
    bounds, (start, end) = prune._index_extents(file.footer.raw, 0, file.leaves())[0]
    index = data[start:end]
    place = thrift.items(index, thrift.fields(index, 0)[0][1], thrift.STRUCT)[page]
    at = thrift.fields(index, place.start)[0][3].start
    broken = index[:at] + thrift.write_integer(first_row) + index[at + 1 :]
    pieces = [(bounds[0], data[slice(*bounds)]), (start, broken)]
    assert possible_rows(file, 0, PageIndex(pieces=pieces)) == [(0, 10)]


def without(data, part, by=b""):
    """A file whose footer lacks some bytes, which stand in it once."""
    length = struct.unpack("<I", data[-8:-4])[0]
    raw = data[-8 - length : -8]
    assert raw.count(part) == 1
    raw = raw.replace(part, by)
    return data[: -8 - length] + raw + struct.pack("<I", len(raw)) + data[-4:]


def test_statistics_that_count_no_nulls_allow_some():
    """An old writer's statistics, with bounds alone, do not say that there is no null."""
    data = write(pa.table({"s": ["b", None, "c"]}), write_page_index=False, store_schema=False)
    unknown = without(data, b"\x36\x02\x28", b"\x58")  # Statistics: null_count = 1, then max_value; without the former
    assert parquet_statistics(unknown).has_null_count is False
    assert kept(unknown, "s IS NULL") == [0]
    assert kept(unknown, "s = 'a'") == []
    check(unknown, "s IS NULL")


def parquet_statistics(data):
    """The first column's statistics."""
    return pq.read_metadata(pa.BufferReader(data)).row_group(0).column(0).statistics


def test_bounds_without_a_column_order_are_no_bounds():
    """A footer that does not say how its columns are ordered bounds no text, in row groups and in pages."""
    data = write(pa.table({"s": ["a", "b", "c", "d", "e", "f"]}), store_schema=False)
    unordered = without(data, b"\x19\x1c\x1c\x00\x00")  # column_orders: one TypeDefinedOrder
    for file, expected in [(data, [(3, 6)]), (unordered, [(0, 6)])]:
        assert rows(file, "s = 'e'") == expected
    assert (kept(data, "s = 'x'"), kept(unordered, "s = 'x'")) == ([], [0])


def test_nan_is_not_forgotten():
    """Statistics leave NaN out; a filter that keeps it keeps its row group, one that does not may prune it."""
    data = write(pa.table({"f": [1.0, NAN, 2.0, -0.0], "g": pa.array([NAN] * 4, pa.float32())}))
    for sql in [
        "NOT (f <= 10)",
        "f <> 1",
        "NOT (f BETWEEN -1 AND 3)",
        "NOT (g < 1)",
        "g IS NOT NULL",
        "f > 5 OR NOT (g < 1)",
    ]:
        assert kept(data, sql) == [0], sql
        check(data, sql)
    assert kept(data, "f > 10") == []
    assert kept(data, "f IS NULL") == []
    assert kept(write(pa.table({"f": [0.0, 0.0]})), "cast(f as string) = '0'") == [0]
    assert kept(write(pa.table({"f": [-0.0, 0.0]})), "f = 0.0") == [0]


def test_missing_statistics_keep():
    """A column without statistics says nothing, and another column still does."""
    data = write(COUNTING, write_statistics=["s"], write_page_index=False)
    assert kept(data, "x = 5") == [0, 1, 2, 3]
    assert kept(data, "x IS NULL") == [0, 1, 2, 3]
    assert kept(data, "x = 5 AND s > 'k15'") == [1, 2, 3]


def test_columns_that_the_file_lacks_keep():
    """A column that only the dataset's schema has excludes nothing, whatever the filter asks of it."""
    data = write(pa.table({"x": range(20)}))
    schema = pa.schema({"x": pa.int64(), "new": pa.string(), "st": pa.struct({"k": pa.int64()})})
    for sql in ["new = 'a'", "new IS NULL", "new IS NOT NULL", "st.k > 5", "st IS NULL"]:
        assert kept(data, sql, schema) == [0, 1], sql
    assert kept(data, "new IS NULL AND x > 15", schema) == [1]


def test_a_wider_type_in_the_schema_prunes_where_order_is_kept():
    """Whole numbers and text keep their order when they are read as a wider type; between other types nothing is concluded."""
    data = write(COUNTING.select(["small", "s", "f", "ts", "x"]))
    wide = pa.schema(
        {
            "small": pa.int64(),
            "s": pa.large_string(),
            "f": pa.string(),
            "ts": pa.timestamp("ns", "UTC"),
            "x": pa.float64(),
        }
    )
    assert kept(data, "small > 1000", wide) == []
    assert kept(data, "small = 12", wide) == [1]
    assert kept(data, "s = 'k05'", wide) == [0]
    for sql in ["f = '9'", "ts < '1900-01-01'", "x > 1000"]:
        assert kept(data, sql, wide) == [0, 1, 2, 3], sql


def test_int96_timestamps_keep():
    """INT96 has no order in Parquet: nothing is excluded by it."""
    times = [datetime.datetime(1900 + i, 1, 1) for i in range(20)]
    data = write(pa.table({"t": times}), use_deprecated_int96_timestamps=True)
    assert kept(data, "t > '2100-01-01'") == [0, 1]
    assert kept(data, "t IS NULL") == [0, 1]


def test_lists_and_what_is_in_them_keep():
    """A condition on a list or a map excludes nothing, and columns behind them are found."""
    table = pa.table(
        {
            "l": [[i] for i in range(20)],
            "m": pa.array([[("k", i)] for i in range(20)], pa.map_(pa.string(), pa.int64())),
            "o": [{"l": [{"k": i}], "k": i} for i in range(20)],
            "x": range(20),
        }
    )
    data = write(table)
    for sql, expected in [
        ("size(l) > 5", [0, 1]),
        ("l IS NULL", [0, 1]),
        ("o.k = 3", [0]),
        ("x = 15", [1]),
        ("o IS NULL", [0, 1]),
    ]:
        assert kept(data, sql) == expected, sql
        check(data, sql)


def test_a_filter_that_fails_on_a_bound_keeps():
    """Arrow works a cast out when a row group holds one value only; its failure is left to who reads the rows."""
    data = write(pa.table({"s": ["a"] * 10 + ["7"] * 10 + ["8"] * 10}))
    assert kept(data, "cast(s as int) = 7") == [0, 1]


def test_more_columns_than_cases_can_be_tried():
    """A filter over many columns with nulls still prunes by the first ones, and never wrongly."""
    table = pa.table({f"c{i}": [*range(9), None] * 2 for i in range(9)})
    data = write(table)
    assert kept(data, " AND ".join(f"c{i} > 100" for i in range(9))) == []
    assert kept(data, " OR ".join(f"c{i} > 100" for i in range(9))) == [0, 1]
    assert kept(data, " AND ".join(f"c{i} IS NULL" for i in range(9))) == [0, 1]


@pytest.mark.parametrize("text", ["a" * 200, "é" * 100, "\U0010ffff" * 60, ""])
@pytest.mark.parametrize("writer", ["polars", "duckdb"])
def test_long_texts_of_other_writers_are_not_lost(text, writer, tmp_path):
    """Bounds that a writer cut are bounds still."""
    table = pa.table({"s": [text, text + "b", text + "a"], "f": [NAN, 1.0, -INF], "x": [1, None, 3]})
    if writer == "polars":
        pl.from_arrow(table).write_parquet(tmp_path / "a.parquet", statistics="full")
    else:
        duckdb.from_arrow(table).write_parquet(str(tmp_path / "a.parquet"))
    data = (tmp_path / "a.parquet").read_bytes()
    for sql in [f"s = '{text}b'", f"s > '{text}a'", f"s <= '{text}'", "NOT (f <= 10)", "f < 0", "x IS NULL", "f <> 1"]:
        assert kept(data, sql) == [0], sql
        check(data, sql)


def test_values_cut_in_the_middle_of_a_character_are_no_bounds():
    """Bytes that are no text bound nothing; bounds the wrong way round bound nothing."""
    leaf = bounds.Leaf(index=0, names=("s",), kind=pa.string(), own=pa.string(), physical="BYTE_ARRAY")
    whole = leaf.field.is_valid()
    for low, high in [(b"a", b"\xc3"), (b"b", b"a"), (None, b"a"), (b"a", None)]:
        assert bounds._within(leaf, leaf.field, bounds.Bounds(low=low, high=high)).equals(whole)


NUMBER = st.integers(-3, 3)
COLUMNS = {
    "i": (pa.int64(), NUMBER | st.sampled_from([2**53 + 1, -(2**63), 2**63 - 1])),
    "j": (pa.int8(), NUMBER),
    "u": (pa.uint32(), st.sampled_from([0, 1, 2, 2**31, 2**32 - 1])),
    "f": (pa.float64(), st.sampled_from([-0.0, 0.0, 1.0, 1.5, -2.0, NAN, INF, -INF, 2.0**53])),
    "g": (pa.float32(), st.sampled_from([0.0, 1.0, 0.1, NAN, -1.0])),
    "s": (pa.string(), st.sampled_from(["", "a", "ab", "b", "é", "A", "1", "%", "\U0010ffff"])),
    "v": (pa.string_view(), st.sampled_from(["", "a", "ab", "b"])),
    "d": (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(["a", "ab", "b"])),
    "b": (pa.bool_(), st.booleans()),
    "t": (pa.timestamp("us", "UTC"), st.sampled_from([0, -1, 1, 86_400_000_000])),
    "n": (pa.timestamp("ns"), st.sampled_from([0, -1, 1, 86_400 * 10**9])),
    "y": (
        pa.date32(),
        st.sampled_from([datetime.date(1969, 12, 31), datetime.date(1970, 1, 1), datetime.date(1970, 1, 2)]),
    ),
    "c": (pa.decimal128(9, 2), st.sampled_from([Decimal("1.25"), Decimal("-1.25"), Decimal(0)])),
    "o": (
        pa.struct({"k": pa.int64(), "s": pa.string()}),
        st.fixed_dictionaries({"k": NUMBER | st.none(), "s": st.sampled_from(["a", None])}),
    ),
}
NUMERIC = st.sampled_from(
    [
        "i",
        "j",
        "u",
        "f",
        "g",
        "c",
        "o.k",
        "i % 2",
        "i + 1",
        "cast(f as float)",
        "cast(i as double)",
        "length(s)",
        "abs(j)",
        "i / j",
        "coalesce(i, 1)",
        "coalesce(f, o.k)",
        "cast(s as int)",
        "if(b, i, j)",
    ]
)
TEXT = st.sampled_from(
    [
        "s",
        "v",
        "d",
        "o.s",
        "lower(s)",
        "s || d",
        "substring(s, 1, 1)",
        "cast(i as string)",
        "cast(f as string)",
        "coalesce(s, 'a')",
    ]
)
TIME = st.sampled_from(["t", "cast(t as date)"])
NAIVE = st.sampled_from(["n", "y", "cast(y as timestamp)", "cast(n as date)"])
LITERALS = st.sampled_from(
    ["0", "1", "2", "-1", "1.5", "0.1", "2147483648", "9007199254740992", "null", "100", "-100.5"]
)
TEXTS = st.sampled_from(["''", "'a'", "'ab'", "'b'", "'z'", "'1'", "null"])
TIMES = st.sampled_from(["'1970-01-01'", "'1970-01-02'", "'1980-01-01'", "'1969-12-31 23:59:59.999999'"])
COMPARE = st.sampled_from(["=", "<>", "<", "<=", ">", ">=", "<=>", "IS DISTINCT FROM"])


def conditions(values, literals):
    """Conditions on one value, or two of a kind."""
    return st.one_of(
        st.tuples(values, COMPARE, literals | values).map(" ".join),
        st.tuples(literals, COMPARE, values).map(" ".join),
        st.tuples(values, st.sampled_from(["IS NULL", "IS NOT NULL"])).map(" ".join),
        st.tuples(values, st.sampled_from(["IN", "NOT IN"]), st.lists(literals, min_size=1, max_size=3)).map(
            lambda parts: f"{parts[0]} {parts[1]} ({', '.join(parts[2])})"
        ),
        st.tuples(values, literals, literals).map(lambda parts: "{} BETWEEN {} AND {}".format(*parts)),
    )


LIKES = st.tuples(TEXT, st.sampled_from(["LIKE 'a%'", "NOT LIKE '%b'", "ILIKE 'A_'", "LIKE 'a'", "RLIKE 'a.*'"])).map(
    " ".join
)
LEAVES = st.one_of(
    conditions(NUMERIC, LITERALS),
    conditions(TEXT, TEXTS),
    conditions(TIME, TIMES),
    conditions(NAIVE, TIMES),
    LIKES,
    st.sampled_from(["b", "b IS TRUE", "b IS NOT TRUE", "b IS FALSE", "o IS NULL", "true", "null"]),
)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["AND", "OR", "<=>", "="]), inner).map(lambda p: f"({p[0]}) {p[1]} ({p[2]})"),
        inner.map(lambda one: f"NOT ({one})"),
        inner.map(lambda one: f"({one}) IS NULL"),
        inner.map(lambda one: f"({one}) IS NOT TRUE"),
        inner.map(lambda one: f"coalesce({one}, true)"),
        inner.map(lambda one: f"CASE WHEN {one} THEN false ELSE true END"),
    ),
    max_leaves=4,
)


@st.composite
def tables(draw):
    """A few rows whose columns are often constant, all null or without nulls."""
    count = draw(st.integers(1, 6))
    columns = []
    for kind, values in COLUMNS.values():
        some = draw(st.sampled_from([values, st.none(), values | st.none(), st.just(draw(values))]))
        items = draw(st.lists(some, min_size=count, max_size=count))
        plain = kind.value_type if pa.types.is_dictionary(kind) else kind
        columns.append(pa.array(items, plain).cast(kind))
    return pa.table(columns, names=list(COLUMNS))


def check_any(table, sql, group):
    """Nothing that matches is pruned, whichever way the filter is compiled; returns whether something was pruned."""
    data = write(table, row_group_size=group, write_batch_size=1)
    try:
        parse_predicate(sql, table.schema)
    except DatasetError:
        return False  # types that cannot meet
    return check(data, sql, table.schema) | check(data, sql, plain_schema(table.schema))


def test_no_matching_row_is_ever_pruned():
    """For any small table and any filter, only rows are excluded for which the filter is not true; often some are."""
    pruned = []

    @settings(max_examples=150)
    @given(table=tables(), sql=FILTERS, group=st.integers(1, 4))
    def run(table, sql, group):
        pruned.append(check_any(table, sql, group))

    run()
    assert sum(pruned) > len(pruned) / 10


@pytest.mark.long
@settings(max_examples=3000)
@given(table=tables(), sql=FILTERS, group=st.integers(1, 4))
def test_no_matching_row_is_pruned_in_many_more_cases(table, sql, group):
    """The same for longer."""
    check_any(table, sql, group)
