"""A part of a footer reads as the whole one does, and bytes that are no footer are refused at once."""

import contextlib
import io
import struct
from itertools import pairwise

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from pipeline.errors import CorruptFileError
from pipeline.parquet import thrift
from pipeline.parquet.subset import column_chunks, subset_footer

LONG = "é" * 900  # Arrow does not cut statistics: they are longer than what the fast path knows
TABLE = pa.table(
    {
        "id": range(60),
        "text": [f"text {i} {LONG[: i * 30]}" for i in range(60)],
        "none": pa.nulls(60),
        "nested": [{"a": [i, None], "b": {"c": float(i)}} if i % 3 else None for i in range(60)],
        "flag": [i % 2 == 0 for i in range(60)],
    }
)


def cut(data):
    """A file's footer."""
    length = struct.unpack("<I", data[-8:-4])[0]
    return data[-8 - length : -8]


def parse(raw):
    """A footer as pyarrow's metadata."""
    return pq.read_metadata(pa.BufferReader(b"PAR1" + raw + struct.pack("<I", len(raw)) + b"PAR1"))


def footer_of(table):
    """The footer of a file with such a table."""
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=20)
    return cut(sink.getvalue())


FOOTER = footer_of(TABLE)


def written_by_pyarrow(path):
    pq.write_table(TABLE, path, row_group_size=4, write_page_index=True, sorting_columns=[pq.SortingColumn(0)])


def written_by_pyarrow_for_old_readers(path):
    pq.write_table(TABLE, path, row_group_size=4, version="1.0", store_schema=False)


def written_by_polars(path):
    pl.from_arrow(TABLE.drop(["none"])).write_parquet(path, row_group_size=4)


def written_by_duckdb(path):
    duckdb.from_arrow(pa.concat_tables([TABLE] * 100)).write_parquet(str(path), row_group_size=2048)


WRITERS = [written_by_pyarrow, written_by_pyarrow_for_old_readers, written_by_polars, written_by_duckdb]


@pytest.mark.parametrize("write", WRITERS)
def test_a_subset_decodes_from_the_original_bytes(write, tmp_path):
    """Any writer's row groups, in any order and also twice, are read from the original file with the subset's footer."""
    write(tmp_path / "a.parquet")
    data = (tmp_path / "a.parquet").read_bytes()
    whole = pq.ParquetFile(pa.BufferReader(data))
    count = whole.num_row_groups
    for wanted in [
        [0],
        [count - 1],
        [count - 1, 0],
        [count // 2] * 2,
        list(range(count)),
        [*reversed(range(count))],
        [],
    ]:
        metadata = parse(subset_footer(cut(data), wanted))
        part = pq.ParquetFile(pa.BufferReader(data), metadata=metadata)
        expected = [whole.read_row_group(group) for group in wanted]
        assert metadata.num_rows == sum(table.num_rows for table in expected)
        assert [part.read_row_group(at) for at in range(part.num_row_groups)] == expected
        assert part.schema_arrow.equals(whole.schema_arrow, check_metadata=True)
        assert all(metadata.row_group(at).equals(whole.metadata.row_group(g)) for at, g in enumerate(wanted))


@pytest.mark.parametrize("write", WRITERS)
def test_all_row_groups_are_the_footer_itself(write, tmp_path):
    """The subset of everything is, byte for byte, what the writer wrote."""
    write(tmp_path / "a.parquet")
    raw = cut((tmp_path / "a.parquet").read_bytes())
    assert subset_footer(raw, range(parse(raw).num_row_groups)) == raw


def test_subsets_of_subsets_are_subsets(parquet_bytes):
    """A subset is a footer like any other."""
    raw = cut(parquet_bytes(TABLE, row_group_size=4))
    assert subset_footer(subset_footer(raw, [5, 3, 9]), [2, 0]) == subset_footer(raw, [9, 5])


def test_more_than_fourteen_row_groups_take_a_longer_header(parquet_bytes):
    """The list's header changes its form at 15 elements."""
    raw = cut(parquet_bytes(TABLE, row_group_size=1))
    for count in (1, 14, 15, 16, 60):
        assert parse(subset_footer(raw, range(count))).num_rows == count


@pytest.mark.parametrize("wanted", [[15], [-1], [0, 99]])
def test_a_row_group_that_is_not_there_is_an_error(parquet_bytes, wanted):
    """Positions outside the file are refused, also those from the end."""
    with pytest.raises(IndexError, match="15"):
        subset_footer(cut(parquet_bytes(TABLE, row_group_size=4)), wanted)


def test_column_chunks_lie_side_by_side(parquet_bytes):
    """Each row group has one extent per Parquet column, without gaps between."""
    raw = cut(parquet_bytes(TABLE, row_group_size=4))
    metadata = parse(raw)
    for group in range(metadata.num_row_groups):
        chunks = column_chunks(raw, group)
        assert len(chunks) == metadata.num_columns
        assert all(one.end == two.start for one, two in pairwise(chunks))


def test_every_truncation_of_a_footer_is_corrupt(parquet_bytes):
    """A footer that ends before its row groups do is refused, wherever it ends."""
    raw = cut(parquet_bytes(TABLE.slice(0, 6), row_group_size=3, store_schema=False))
    end = len(raw) - len(subset_footer(raw, [])) + len(subset_footer(raw, []).partition(b"parquet-cpp")[0])
    for length in range(end - 10):
        with pytest.raises(CorruptFileError):
            subset_footer(raw[:length], [0])


def test_absurd_lengths_and_depths_are_corrupt():
    """Lengths beyond the bytes that are there, and nesting without an end, are refused without being followed."""
    for raw in [
        b"\x16\x00\x19\xfc\xff\xff\xff\xff\x0f",  # a list of 4 billion structs
        b"\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  # a string of 2**64 bytes
        b"\x1b\xff\xff\xff\xff\x0f\x88",  # a map of 4 billion strings
        b"\x1c" * 5000,  # structs in structs
        b"\x19" * 5000,  # lists of lists
        b"\x1b\x01\xbb" * 5000,  # maps of maps
        b"\x16" + b"\xff" * 300,  # a number without an end
    ]:
        with pytest.raises(CorruptFileError):
            subset_footer(raw, [])


def test_a_number_of_more_than_64_bits_is_corrupt():
    """A number stops at ten bytes, however many would follow."""
    assert thrift.varint(b"\xff" * 9 + b"\x01", 0) == (2**64 - 1, 10)
    with pytest.raises(CorruptFileError, match="64 bits"):
        thrift.varint(b"\xff" * 10 + b"\x01", 0)


@settings(max_examples=500)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_footer_or_corrupt(raw):
    """Bytes that are no footer raise CorruptFileError, nothing else."""
    with contextlib.suppress(CorruptFileError):
        subset_footer(raw, [])


@settings(max_examples=500)
@given(st.data())
def test_a_flipped_byte_never_escapes(data):
    """A footer with a wrong byte gives a subset or a CorruptFileError, nothing else."""
    raw = bytearray(FOOTER)
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(CorruptFileError):
        subset_footer(bytes(raw), [])


def varint(number):
    """A number without a sign: as one with a sign, of which it is the zigzag form."""
    return thrift.write_integer(number >> 1 ^ -(number & 1))


NUMBERS = st.integers(-(2**63), 2**63 - 1).map(thrift.write_integer)
TEXTS = st.binary(max_size=140).map(lambda text: varint(len(text)) + text)
SCALARS = st.one_of(
    st.sampled_from([(thrift.TRUE, b""), (thrift.FALSE, b"")]),
    st.binary(min_size=1, max_size=1).map(lambda value: (thrift.BYTE, value)),
    st.binary(min_size=8, max_size=8).map(lambda value: (thrift.DOUBLE, value)),
    st.binary(min_size=16, max_size=16).map(lambda value: (thrift.UUID, value)),
    st.tuples(st.sampled_from([thrift.I16, thrift.I32, thrift.I64]), NUMBERS),
    TEXTS.map(lambda value: (thrift.BINARY, value)),
)


def lists(kind, elements):
    return st.lists(elements, max_size=17).map(
        lambda found: (thrift.LIST, thrift.write_list_header(kind, len(found)) + b"".join(found))
    )


LISTS = st.one_of(lists(thrift.I32, NUMBERS), lists(thrift.I64, NUMBERS), lists(thrift.BINARY, TEXTS))


def structs(values):
    """Structs of such values, with the ids of their fields one or more apart."""
    deltas = st.integers(1, 40)
    return st.lists(st.tuples(deltas, values), max_size=6).map(lambda found: write_struct(found) + b"\0")


def write_struct(found):
    """Fields with short headers, and with long ones where the ids are more than 15 apart."""
    written, number = b"", 0
    for delta, (kind, value) in found:
        number += delta
        header = bytes([delta << 4 | kind]) if delta < 16 else bytes([kind]) + thrift.write_integer(number)
        written += header + value
    return written


INNER = structs(SCALARS | LISTS)
MIDDLE = structs(SCALARS | LISTS | INNER.map(lambda value: (thrift.STRUCT, value)) | lists(thrift.STRUCT, INNER))
OUTER = structs(SCALARS | LISTS | MIDDLE.map(lambda value: (thrift.STRUCT, value)) | lists(thrift.STRUCT, MIDDLE))


@settings(max_examples=300)
@given(OUTER, st.binary(max_size=20))
def test_a_struct_ends_where_its_writer_stopped(struct_bytes, after):
    """Skipping a struct, by the pattern for flat ones or step by step, finds its exact end, whatever follows."""
    raw = struct_bytes + after
    assert thrift.skip(raw, 0, thrift.STRUCT) == len(struct_bytes)
    assert thrift.fields(raw, 0)[1] == len(struct_bytes)
    flat = thrift._flat_struct().match(raw)
    assert flat is None or flat.end() == len(struct_bytes)


def test_a_text_of_any_length_is_skipped_exactly():
    """Short texts by the pattern, longer ones by the walk: both end where they end."""
    for length in range(300):
        field = b"\x18" + varint(length) + bytes(length)
        for raw in (field + b"\0", b"\x1c" + field + b"\0\0", b"\x1c\x1c" + field + b"\0\0\0"):
            assert thrift.skip(raw + b"\0", 0, thrift.STRUCT) == len(raw)


def test_what_writers_write_takes_the_fast_path(parquet_bytes):
    """A column chunk with short statistics is matched as a whole, page index, size statistics and all."""
    raw = cut(parquet_bytes(TABLE.select(["id", "flag", "nested"]), row_group_size=4, write_page_index=True))
    for chunk in column_chunks(raw, 0):
        flat = thrift._flat_struct().match(raw, chunk.start)
        assert flat is not None
        assert flat.end() == chunk.end


@given(st.integers(-(2**63), 2**63 - 1), st.lists(st.binary(max_size=200), max_size=20))
def test_numbers_and_lists_are_read_as_written(number, texts):
    """What is written is what is read."""
    written = thrift.write_integer(number)
    assert thrift.integer(written, thrift.Field(thrift.I64, 0, len(written))) == number
    raw = thrift.write_list_header(thrift.BINARY, len(texts)) + b"".join(varint(len(text)) + text for text in texts)
    assert thrift.binaries(raw, thrift.Field(thrift.LIST, 0, len(raw))) == texts
