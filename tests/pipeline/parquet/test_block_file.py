"""A file of blocks is its sources' bytes under a footer of its own: pads, markers, constants, and what cannot be copied."""

import io
import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from pipeline.errors import CorruptFileError, SchemaError
from pipeline.hub.local_store import local_store
from pipeline.parquet.block_file import BlockFile
from pipeline.parquet.footer import Footer
from pipeline.parquet.layout import MARKER, PAD_BYTES, Kind, Layout, is_padded
from pipeline.parquet.raw_chunk import MovedChunk, column_chunk, raw_chunks, row_group
from pipeline.parquet.rowgroup_copy import RawGroup, copy_ranges, why_not_copied
from pipeline.parquet.subset import column_orders, subset_footer, with_row_groups
from pipeline.parquet.thrift import I64, write_struct
from tests.pipeline.parquet.raw_files import BLOCKS, Source, check_pages, copied, footer_of

SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.string()), ("raw", pa.binary())])
NAMES = {name: name for name in SCHEMA.names}
WITH_SOURCE = SCHEMA.append(pa.field("source", pa.string()))
HERE = {"source": pa.scalar("here")}


def rows(seed, count=20, size=400):
    """Rows of random bytes."""
    rng = random.Random(seed)
    ids = [rng.randrange(10**6) for _ in range(count)]
    texts = [rng.choice(["a", "bc", None]) for _ in range(count)]
    return pa.table([ids, texts, [rng.randbytes(size) for _ in range(count)]], schema=SCHEMA)


def padded(tables, identity="source"):
    """A file in the layout `blocks`."""
    sink = io.BytesIO()
    file = BlockFile(sink, SCHEMA, layout=BLOCKS, features=None, identity=identity)
    for table in tables:
        file.write_row_group(table)
    file.close()
    return Source(sink.getvalue())


def foreign(tables, **options):
    """A file as others write it."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, tables[0].schema, write_page_index=True, **options) as writer:
        for table in tables:
            writer.write_table(table)
    return Source(sink.getvalue())


def stretches(source):
    """A file's row groups, each with the pad behind it, as bytes."""
    ranges = [group.ranges() for group in source.footer.row_groups()]
    return [source.data[min(one)[0] : max(end for _, end in one) + PAD_BYTES] for one in ranges]


def test_a_copy_of_all_columns_is_the_same_bytes_in_any_order():
    """Row groups and pads of a padded source are in the copy as they are, whatever the order of blocks and of columns."""
    source = padded([rows(seed) for seed in range(5)])
    order = [3, 0, 4, 0, 2]
    for schema in (SCHEMA, pa.schema([SCHEMA.field(name) for name in ("text", "raw", "id")])):
        columns = {name: name for name in schema.names}
        copy = Source(copied(schema, columns, [[source.groups[place]] for place in order], identity="mix"))
        assert stretches(copy) == [stretches(source)[place] for place in order]
        assert is_padded(copy.footer.row_groups())
    together = Source(copied(SCHEMA, NAMES, [source.groups], identity="source"))
    assert together.data == source.data


def test_a_copied_run_with_constants_begins_and_ends_as_in_its_source():
    """Behind it stands a marker, then the constants, then a pad; and a mix of such mixes, again with theirs or with others."""
    source = padded([rows(seed) for seed in range(4)])
    mix = Source(copied(WITH_SOURCE, NAMES, [[group] for group in source.groups], HERE))
    assert is_padded(mix.footer.row_groups())
    for one, two in zip(stretches(source), stretches(mix), strict=True):
        run = one[:-PAD_BYTES] + MARKER
        assert two.startswith(run)
        assert 0 < len(two) - len(run) - PAD_BYTES < 200
    again = Source(copied(WITH_SOURCE, NAMES | {"source": "source"}, [[group] for group in reversed(mix.groups)]))
    assert stretches(again) == stretches(mix)[::-1]
    other = Source(copied(WITH_SOURCE, NAMES, [[group] for group in mix.groups], {"source": pa.scalar("there")}))
    assert set(pq.read_table(io.BytesIO(other.data))["source"].to_pylist()) == {"there"}
    for one, two in zip(stretches(source), stretches(other), strict=True):
        assert two.startswith(one[:-PAD_BYTES] + MARKER)
    plain = Source(copied(SCHEMA, NAMES, [[group] for group in other.groups], identity="source"))
    assert plain.data == source.data


def test_a_mix_of_blocks_with_a_source_column_uploads_one_percent():
    """By hf_xet's own count, in blocks of 500 KB: copied, shuffled, with a constant column, cut out of two sources."""
    one, two = (padded([rows(seed, 5, 100_000) for seed in range(at, at + 8)], str(at)) for at in (100, 200))
    groups = [*one.groups, *two.groups]
    random.Random(1).shuffle(groups)
    data = copied(WITH_SOURCE, NAMES, [[group] for group in groups], HERE, identity="mix")
    with local_store() as measure:
        assert measure(one.data) + measure(two.data) > 0.95 * len(one.data + two.data)
        assert measure(data) < 0.01 * len(data)


def test_foreign_row_groups_of_a_block_stay_side_by_side():
    """What no pad divides in its source none divides in the mix: it is behind the block, constants of all before it."""
    source = foreign([rows(seed) for seed in range(6)])
    ranges = [group.ranges() for group in source.footer.row_groups()]
    run = source.data[ranges[1][0][0] : ranges[3][-1][1]]
    for schema, constants in ((SCHEMA, None), (WITH_SOURCE, HERE)):
        copy = copied(schema, NAMES, [source.groups[1:4], source.groups[5:], source.groups[:1]], constants)
        assert copy.count(run + MARKER) == 1
        assert copy.count(MARKER) == 8 + (3 if constants else 0)
        found = pq.read_table(io.BytesIO(copy), columns=SCHEMA.names)
        assert found.equals(pa.concat_tables([rows(seed) for seed in (1, 2, 3, 5, 0)]))
        assert check_pages(copy) > 0
    single = Source(copied(WITH_SOURCE, NAMES, [[group] for group in source.groups], HERE))
    assert is_padded(single.footer.row_groups())


def test_row_groups_that_are_no_neighbours_are_divided():
    """Row groups of one block between which something lies in their source have a pad each."""
    source = foreign([rows(seed) for seed in range(4)])
    copy = Source(copied(SCHEMA, NAMES, [[source.groups[0], source.groups[2], source.groups[1]]]))
    assert is_padded(copy.footer.row_groups())


@settings(deadline=None, max_examples=40)
@given(
    order=st.permutations(["id", "text", "raw", "source", "nothing"]),
    kept=st.sets(st.sampled_from(SCHEMA.names), min_size=1),
)
def test_the_middle_of_each_row_group_lies_in_it(order, kept):
    """As parquet-mr reckons it, from the first column of the schema; otherwise Spark loses the last row groups."""
    fields = {field.name: field for field in WITH_SOURCE} | {"nothing": pa.field("nothing", pa.list_(pa.int8()))}
    schema = pa.schema([fields[name] for name in order])
    source = foreign([rows(seed).select(["raw", "text", "id"]) for seed in range(3)])
    data = copied(schema, {name: name for name in kept}, [source.groups[:2], source.groups[2:]], HERE)
    metadata = pq.read_metadata(io.BytesIO(data))
    for place, group in enumerate(footer_of(data).row_groups()):
        middle = group.chunks[0].start + group.size() // 2
        assert group.ranges()[0][0] <= middle < max(end for _, end in group.ranges())
        assert metadata.row_group(place).total_byte_size == sum(
            metadata.row_group(place).column(number).total_uncompressed_size for number in range(len(schema))
        )
    table = pq.read_table(io.BytesIO(data))
    expected = pa.concat_tables([rows(seed) for seed in range(3)])
    assert table.select(sorted(kept)).equals(expected.select(sorted(kept)))
    assert table["nothing"].null_count == table.num_rows
    assert set(table["source"].to_pylist()) == {"here"}


CONSTANTS = {
    "i": (pa.scalar(7), pa.int16()),
    "s": (pa.scalar("x"), pa.large_string()),
    "d": (pa.scalar("x"), pa.dictionary(pa.int32(), pa.string())),
    "l": (pa.scalar([1, None]), pa.list_(pa.int64())),
    "m": (pa.scalar([("a", 1)], pa.map_(pa.string(), pa.int64())), pa.map_(pa.string(), pa.int64())),
    "st": (pa.scalar({"a": {"b": 2.5}}), pa.struct([("a", pa.struct([("b", pa.float64())]))])),
    "n": (pa.scalar(None), pa.struct([("a", pa.int8()), ("b", pa.list_(pa.string()))])),
}


def test_constants_are_of_any_type():
    """Of each type, for blocks of different sizes, each value where it belongs."""
    schema = pa.schema([SCHEMA.field("id"), *(pa.field(name, kind) for name, (_, kind) in CONSTANTS.items())])
    source = foreign([rows(1, 3), rows(2, 5), rows(3, 3)])
    sink = io.BytesIO()
    file = BlockFile(sink, schema, layout=BLOCKS, features=None)
    for number, group in enumerate(source.groups):
        values = {name: value for name, (value, _) in CONSTANTS.items()}
        file.copy_block([group], {"id": "id"}, values | {"i": pa.scalar(number)})
    file.close()
    table = pq.read_table(sink)
    assert table["i"].to_pylist() == [0] * 3 + [1] * 5 + [2] * 3
    for name, (value, _) in CONSTANTS.items():
        if name != "i":
            assert table[name].to_pylist() == [value.as_py()] * 11


def test_a_column_that_may_not_be_null_needs_a_value():
    """It is written as required with one, and without one nothing is written."""
    schema = pa.schema([SCHEMA.field("id"), pa.field("source", pa.string(), nullable=False)])
    source, sink = foreign([rows(1)]), io.BytesIO()
    file = BlockFile(sink, schema, layout=BLOCKS, features=None)
    before = file.size
    with pytest.raises(SchemaError, match="column 'source' may not be null"):
        file.copy_block(source.groups, {"id": "id"}, {})
    assert file.size == before
    file.copy_block(source.groups, {"id": "id"}, HERE)
    file.close()
    assert pq.read_table(sink).schema.equals(schema)


def test_only_what_copy_ranges_names_is_read():
    """Each byte of it once, page indexes included, of the kept columns alone."""
    source = foreign([rows(seed) for seed in range(3)])
    named = copy_ranges(source.footer, 1, ["raw", "id"])
    copied(SCHEMA, {"id": "id", "raw": "raw"}, [source.groups[1:2]])
    assert sorted(source.read_ranges) == named
    assert len(named) == 6


def test_a_subset_of_a_footer_copies_as_the_whole():
    """Row groups are found by their place in the footer at hand."""
    source = foreign([rows(seed) for seed in range(5)])
    some = RawGroup(footer=source.footer.only([1, 3]), position=1, read=source.read)
    assert copied(SCHEMA, NAMES, [[some]]) == copied(SCHEMA, NAMES, [source.groups[3:4]])


def test_bytes_that_are_missing_are_an_error():
    """A source that ends early is corrupt."""
    source = foreign([rows(1)])
    source.data = source.data[:300]
    with pytest.raises(CorruptFileError, match="a column chunk at byte"):
        copied(SCHEMA, NAMES, [source.groups])


def test_bounds_of_an_unknown_order_stay_behind():
    """Of a writer that does not say how it compares, counts of nulls are kept; minima would be trusted wrongly."""
    source = foreign([rows(1)])
    raw = source.footer.raw
    orders = b"".join(column_orders(raw))
    assert orders
    assert raw.endswith(b"\x3c" + orders + b"\x00")
    source.footer = Footer(raw=raw[: -len(orders) - 3] + b"\x00")
    assert column_orders(source.footer.raw) == []
    data = copied(SCHEMA, NAMES, [source.groups])
    for number, name in enumerate(SCHEMA.names):
        chunk = pq.read_metadata(io.BytesIO(data)).row_group(0).column(number)
        assert not chunk.statistics.has_min_max
        assert chunk.statistics.null_count == rows(1)[name].null_count
        assert not chunk.has_column_index
        assert chunk.has_offset_index


def test_a_broken_page_index_is_left_out():
    """Rows are read without one."""
    source = foreign([rows(1)])
    start, end = source.footer.row_groups()[0].ranges()[-1][1], len(source.data) - len(source.footer.raw) - 8
    source.data = source.data[:start] + b"\xff" * (end - start) + source.data[end:]
    data = copied(SCHEMA, NAMES, [source.groups])
    assert not pq.read_metadata(io.BytesIO(data)).row_group(0).column(0).has_offset_index
    assert pq.read_table(io.BytesIO(data)).equals(rows(1))


def test_an_absent_dictionary_may_be_said_to_lie_at_byte_zero():
    """As some writers say it: the chunk begins with its data then, here and in the copy."""
    source = foreign([rows(1).select(["raw"])], use_dictionary=False)
    (chunk,), raw = raw_chunks(source.footer.raw, 0), source.footer.raw
    values = dict(sorted((chunk.values | {11: (I64, b"\0")}).items()))
    moved = MovedChunk(chunk.start, chunk.end, chunk.size, write_struct(values), None, None)
    group = row_group([moved], [column_chunk(moved, 0, 0)], rows=source.groups[0].rows)
    source.footer = Footer(raw=with_row_groups(raw, [group], source.groups[0].rows))
    schema = pa.schema([SCHEMA.field("raw")])
    data = copied(schema, {"raw": "raw"}, [source.groups])
    assert pq.read_table(io.BytesIO(data))["raw"].equals(rows(1)["raw"])
    assert source.read_ranges == [(chunk.start, chunk.end)]


def kind_of(source, wanted, **options):
    """Why a column of one field cannot be copied as another."""
    source, wanted = (one if isinstance(one, pa.Field) else pa.field("x", one) for one in (source, wanted))
    sink = io.BytesIO()
    pq.write_table(pa.schema([source]).empty_table(), sink, **options)
    footer = footer_of(sink.getvalue())
    return why_not_copied(footer, pa.schema([wanted.with_name("y")]), {"y": "x"})


A, B = pa.field("a", pa.int8()), pa.field("b", pa.string())


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        (pa.string(), pa.large_string()),
        (pa.dictionary(pa.int8(), pa.string()), pa.string()),
        (pa.timestamp("us", "UTC"), pa.timestamp("us", "Asia/Tokyo")),
        (pa.decimal128(9, 2), pa.decimal256(9, 2)),
        (pa.list_(pa.field("item", A.type)), pa.list_(pa.field("element", A.type))),
        (pa.list_(pa.field("item", A.type)), pa.large_list(A.type)),
        (pa.field("x", pa.struct([A, B]), nullable=False), pa.field("x", pa.struct([A, B]), nullable=False)),
    ],
    ids=str,
)
def test_what_differs_in_name_only_is_copied(source, wanted):
    """Widths of offsets, names of list elements and of time zones, dictionaries: none shows in the bytes."""
    assert kind_of(source, wanted, use_compliant_nested_type=False) is None


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        (pa.int32(), pa.int64()),
        (pa.int32(), pa.uint32()),
        (pa.int8(), pa.int32()),
        (pa.string(), pa.binary()),
        (pa.timestamp("us", "UTC"), pa.timestamp("us")),
        (pa.timestamp("us"), pa.timestamp("ms")),
        (pa.decimal128(9, 2), pa.decimal128(9, 3)),
        (pa.binary(3), pa.binary(4)),
        (pa.int64(), pa.duration("us")),
        (pa.list_(pa.int8()), pa.list_(pa.int8(), 2)),
        (pa.list_(pa.int8(), 3), pa.list_(pa.int8(), 2)),
        (pa.list_(pa.field("element", pa.int8(), nullable=False)), pa.list_(pa.int8())),
        (pa.field("x", pa.int8(), nullable=False), pa.int8()),
        (pa.int8(), pa.field("x", pa.int8(), nullable=False)),
        (pa.struct([A, B]), pa.struct([B, A])),
        (pa.struct([A]), pa.struct([A, B])),
        (pa.struct([A]), pa.struct([A.with_name("c")])),
        (pa.field("x", pa.struct([A]), nullable=False), pa.struct([A.with_nullable(False)])),
        (pa.null(), pa.string()),
    ],
    ids=str,
)
def test_what_is_stored_in_another_way_is_not_copied(source, wanted):
    """The reason names the column and both."""
    assert "column 'x' is " in kind_of(source, wanted)


def test_files_that_readers_treat_on_their_own_are_not_copied():
    """Timestamps as INT96, decimals as integers, chunks in other files, writers of old, missing columns: each with its reason."""
    times = kind_of(pa.timestamp("us"), pa.timestamp("us"), use_deprecated_int96_timestamps=True)
    assert times == "column 'x' has timestamps as INT96"
    numbers = kind_of(pa.decimal128(9, 2), pa.decimal128(9, 2), store_decimal_as_integer=True)
    assert numbers.startswith("column 'x' is stored as INT32")
    source = foreign([rows(1)])
    assert why_not_copied(source.footer, SCHEMA, NAMES | {"id": "other"}) == "it has no column 'other'"
    assert why_not_copied(source.footer, SCHEMA, {}) == "no column is kept"
    old = source.footer.raw.replace(b"parquet-cpp-arrow version 26.0.1", b"parquet-mr version 1.8.0 (build)")
    assert "parquet-mr version 1.8.0" in why_not_copied(Footer(raw=old), SCHEMA, NAMES)
    metadata, sink = pq.read_metadata(io.BytesIO(source.data)), io.BytesIO()
    metadata.set_file_path("elsewhere.parquet")
    metadata.write_metadata_file(sink)
    aside = footer_of(sink.getvalue())
    assert "in another file" in why_not_copied(aside, SCHEMA, NAMES)
    assert why_not_copied(Footer(raw=subset_footer(source.footer.raw, [])), SCHEMA, NAMES) is None


def test_a_copy_into_another_type_writes_nothing():
    """Who does not ask first is told when it shows, before any bytes are written."""
    source, sink = foreign([rows(1)]), io.BytesIO()
    file = BlockFile(sink, pa.schema([("id", pa.string())]), layout=Layout(kind=Kind.BLOCKS), features=None)
    before = file.size
    with pytest.raises(SchemaError, match="column 'id' is stored in another way"):
        file.copy_block(source.groups, {"id": "id"})
    assert file.size == before
