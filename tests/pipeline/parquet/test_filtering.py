"""Which row groups a stream leaves out for its filter: none that it needs, whatever the files' types, and at what cost."""

import datetime
import operator
import random
import struct
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from pipeline.errors import CorruptFileError, DatasetError, SchemaError
from pipeline.parquet import filtering
from pipeline.parquet.conform import conform
from pipeline.parquet.dataset import choose, scan_as
from pipeline.parquet.filtering import GroupFilter, RowFilter
from pipeline.parquet.footer import Footer
from pipeline.parquet.parsed import DECODING
from pipeline.parquet.prune import FileFilter, page_index_ranges
from pipeline.parquet.task import ScanTask
from pipeline.predicate import Predicate, filter_batch, parse_predicate
from pipeline.storage import FileRef, Meter


def write(path, table, **options):
    """A local file with pages of one row, unless said otherwise; its ref and its footer."""
    sizes = {"row_group_size": 4, "data_page_size": 1, "write_batch_size": 1, "use_dictionary": False}
    pq.write_table(table, path, **({"write_page_index": True} | sizes | options))
    return open_file(path)


def open_file(path):
    """A local file's ref and its footer."""
    data = path.read_bytes()
    length = struct.unpack("<I", data[-8:-4])[0]
    return FileRef(uri=str(path), size=len(data), content_id=path.name), Footer(raw=data[-8 - length : -8])


def kept(groups, file, footer, cut=True):
    """The row groups that a filter keeps, asked for one by one, with footers that are cut to them or not."""
    count = footer.metadata().num_row_groups
    found = []
    for group in range(count):
        own = footer.only((group,)) if cut else footer
        found += groups.prune(ScanTask(file=file, footer=own, row_groups=(group,))).row_groups
    return found


def group_filter(sql, schema, meter=None):
    """A filter that is compiled for a schema."""
    return GroupFilter(RowFilter(predicate=parse_predicate(sql, schema), schema=schema), None, meter)


@pytest.fixture
def eager(monkeypatch):
    """Page indexes are read however small the row groups are, which are small here."""
    monkeypatch.setattr(filtering, "_INDEX_SHARE", 1e9)


# Types that files of one dataset may have for a column, and values where one of them ends, rounds or turns over.
WHOLE = [
    0,
    1,
    -1,
    127,
    128,
    255,
    -128,
    2**31 - 1,
    2**31,
    2_500_000_000,
    3_000_000_000,
    2**32 - 1,
    2**32,
    -(2**31),
    2**53,
]
WHOLE += [2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)]
TIMES = [0, 1, -1, 999, 1000, 1001, 86_400_000, 86_400_000_000, -86_400_000_001]
AMOUNTS = [Decimal(text) for text in ("0", "1.25", "-1.25", "12.5", "125", "-999.99", "0.01")]
FLOATS = [
    0.0,
    -0.0,
    0.1,
    1.0,
    16_777_216.0,
    16_777_217.0,
    -1.5,
    1e300,
    float("nan"),
    float("inf"),
    float("-inf"),
    1e-310,
]
TEXTS = ["", "a", "ab", "b", "é", "\U0010ffff", "\uffff", "1", "1970-01-01"]
BYTES = [b"", b"a", b"\x7f", b"\x80", b"\xff", b"ab", b"1"]
KINDS = {
    "integer": (WHOLE, [getattr(pa, f"{sign}int{bits}")() for sign in ("", "u") for bits in (8, 16, 32, 64)]),
    "float": (FLOATS, [pa.float16(), pa.float32(), pa.float64()]),
    "time": (
        TIMES,
        [pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "Asia/Tokyo")],
    ),
    "date": ([0, 1, -1, 20_000], [pa.date32()]),
    "date64": ([0, 86_400_000, -86_400_000], [pa.date64()]),
    "clock": ([0, 1, 1000], [pa.time32("ms"), pa.time64("us")]),
    "amount": (AMOUNTS, [pa.decimal128(5, 2), pa.decimal128(9, 2), pa.decimal128(9, 3), pa.decimal256(5, 2)]),
    "text": (TEXTS, [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]),
    "bytes": (BYTES, [pa.binary(), pa.large_binary(), pa.binary(1)]),
    "bool": ([True, False], [pa.bool_()]),
    "null": ([None], [pa.null()]),
}
EVERY = [kind for _, kinds in KINDS.values() for kind in kinds]
COMPARE = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


def values_of(kind):
    """The edge values that a type has, as Arrow scalars of the plain type."""
    values = next(values for values, kinds in KINDS.values() if kind in kinds)
    found = []
    for value in values:
        try:
            found.append(pa.scalar(value, kind.value_type if pa.types.is_dictionary(kind) else kind))
        except (pa.ArrowException, OverflowError):
            continue
    return found


VALUES = {kind: values_of(kind) for kind in EVERY}


WIDE = [pa.int32(), pa.uint32(), pa.int64(), pa.uint64()]


@st.composite
def pairs(draw):
    """A file's type, a schema's type: of one kind more often than not, whole numbers more often than others."""
    _, kinds = draw(st.sampled_from([*KINDS.values(), *[([], WIDE)] * 10]))
    own = draw(st.sampled_from(kinds))
    return own, draw(st.sampled_from([*kinds * 4, draw(st.sampled_from(EVERY))]))


@st.composite
def conditions(draw, kind, field):
    """A condition on a column that is compared as this type."""
    value = st.sampled_from(VALUES[kind])
    one = draw(st.sampled_from(COMPARE))(field, draw(value))
    other = draw(st.sampled_from(COMPARE))(field, draw(value))
    choices = [one, ~one, one & other, one | other, one.is_null(), ~(one & other), field.is_null(), field.is_valid()]
    return draw(st.sampled_from([*choices, one, field.isin(pa.array([draw(value)], VALUES[kind][0].type))]))


@st.composite
def cases(draw):
    """A column in a file, the schema that it is read as, a condition on it; alone, or in a struct."""
    own, kind = draw(pairs())
    some = st.sampled_from([*VALUES[own], None]) | st.sampled_from(VALUES[own])
    values = draw(st.lists(some, min_size=1, max_size=6))
    if draw(st.booleans()):  # row groups that differ, as those of a sorted file do
        values.sort(key=lambda one: -1 if one is None else VALUES[own].index(one))
    plain = own.value_type if pa.types.is_dictionary(own) else own
    column = pa.array(values, plain).cast(own)
    nested = draw(st.booleans()) and not {own, kind} & {pa.string_view(), KINDS["text"][1][-1]}
    field = pc.field("o", "x") if nested else pc.field("x")
    if nested:
        table = pa.table({"o": pa.StructArray.from_arrays([column], ["x"])})
        schema = pa.schema({"o": pa.struct({"x": kind})})
    else:
        table, schema = pa.table({"x": column}), pa.schema({"x": kind})
    condition = draw(conditions(kind, field))
    return table, schema, Predicate(sql=str(condition), expression=condition, columns=("o" if nested else "x",))


def chosen(path, groups, schema, predicate):
    """The rows of these row groups that pass, as a stream reads them, a text for each row group that has some.

    Raises SchemaError where the file does not fit.
    """
    whole = pq.ParquetFile(path, **DECODING)
    batches = [batch for group in groups for batch in whole.read_row_group(group).combine_chunks().to_batches()]
    found = [filter_batch(conform(batch, schema, str(path)), predicate) for batch in batches]
    return [str(batch.column(0)) for batch in found if batch.num_rows]


def check_case(path, case, group):
    """Reading what is left gives the same rows as reading everything; returns whether there was less to read."""
    table, schema, predicate = case
    file, footer = write(path, table, row_group_size=group)
    count = footer.metadata().num_row_groups
    left = kept(GroupFilter(RowFilter(predicate=predicate, schema=schema), None), file, footer)
    try:
        everything = chosen(path, range(count), schema, predicate)
    except DatasetError:
        return False  # the file does not fit the schema: who reads it says so
    assert chosen(path, left, schema, predicate) == everything, (table.to_pylist(), predicate.sql, left)
    return len(left) < count


@pytest.mark.usefixtures("eager")
def test_a_file_of_another_type_loses_no_row_to_the_filter(tmp_path):
    """For any type of the file and of the schema, rows that pass once they are cast are read; often fewer are."""
    pruned = []

    @settings(max_examples=1000)
    @given(case=cases(), group=st.integers(1, 3))
    def run(case, group):
        pruned.append(check_case(tmp_path / "a.parquet", case, group))

    run()
    assert sum(pruned) > len(pruned) / 10


@pytest.mark.long
@pytest.mark.usefixtures("eager")
def test_a_file_of_another_type_loses_no_row_in_many_more_cases(tmp_path):
    """The same for longer."""

    @settings(max_examples=3000)
    @given(case=cases(), group=st.integers(1, 3))
    def run(case, group):
        check_case(tmp_path / "a.parquet", case, group)

    run()


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    ("own", "kind", "values", "sql", "expected"),
    [
        (pa.uint32(), pa.int64(), [2_500_000_000, 3_000_000_000, 1, 2], "x > 2600000000", [0]),
        (pa.uint32(), pa.int64(), [2_500_000_000, 3_000_000_000, 1, 2], "x < 5", [1]),
        (pa.uint32(), pa.uint64(), [2**32 - 1, 2**31, 1, 2], "x > 2600000000", [0]),
        (pa.int32(), pa.uint32(), [2**31 - 1, 0, 1, 2], "x > 5", [0]),
        (pa.int64(), pa.uint64(), [2**63 - 1, 0, 1, 2], "x > 5", [0]),
        (pa.uint64(), pa.int64(), [2**63 - 1, 1, 1, 2], "x > 5", [0]),
        (pa.int64(), pa.uint32(), [2**32 - 1, 1, 1, 2], "x > 5", [0]),
        (pa.uint8(), pa.int8(), [127, 1, 1, 2], "x > 5", [0]),
        (pa.int32(), pa.uint32(), [-1, -2, 1, 2], "x > 5", [0]),  # nothing is known of what does not fit
        (pa.uint64(), pa.int64(), [2**64 - 1, 2**63, 1, 2], "x > 5", [0]),
        (pa.float32(), pa.float64(), [0.1, 7.0, 1.0, 2.0], "x > 5", [0]),
        (pa.float64(), pa.float32(), [7.0, 8.0, 1.0, 2.0], "x > 5", [0, 1]),
        (pa.timestamp("ms"), pa.timestamp("us"), [10**9, 10**9, 1, 2], "x > '1970-01-02'", [0, 1]),
        (pa.decimal128(5, 2), pa.decimal128(9, 3), [Decimal(7), Decimal(8), Decimal(1), Decimal(2)], "x > 5", [0, 1]),
    ],
)
def test_bounds_are_read_by_the_type_of_the_file(tmp_path, own, kind, values, sql, expected, nested):
    """Signs, widths and rounding are the file's own, whatever the first file of the dataset has; pages too."""
    column = pa.array(values, own)
    table, schema = pa.table({"x": column}), pa.schema({"x": kind})
    if nested:
        table = pa.table({"o": pa.StructArray.from_arrays([column], ["x"])})
        schema, sql = pa.schema({"o": pa.struct({"x": kind})}), sql.replace("x", "o.x")
    file, footer = write(tmp_path / "a.parquet", table, row_group_size=2)
    assert kept(group_filter(sql, schema), file, footer) == expected
    predicate = parse_predicate(sql, schema)
    try:
        everything = chosen(tmp_path / "a.parquet", [0, 1], schema, predicate)
    except SchemaError:
        return
    assert chosen(tmp_path / "a.parquet", expected, schema, predicate) == everything


def test_pages_are_bounded_by_the_type_of_the_file(tmp_path, eager):
    """A page of large values without a sign is not taken for one of negative ones, nor one between them for a match."""
    values = [2, 3_000_000_000, 3_000_000_000, 2, 4, 3_000_000_000]
    file, footer = write(tmp_path / "a.parquet", pa.table({"x": pa.array(values, pa.uint32())}), row_group_size=2)
    schema = pa.schema({"x": pa.int64()})
    assert kept(group_filter("x > 2600000000", schema), file, footer) == [0, 1, 2]
    assert kept(group_filter("x > 2 and x < 2600000000", schema), file, footer) == [2]


def test_a_field_that_a_struct_has_twice_has_no_bounds(tmp_path):
    """Arrow reads one of the two, and bounds of the other would exclude its rows."""
    twice = pa.StructArray.from_arrays([pa.array([1, 2]), pa.array([8, 9])], ["x", "x"])
    file, footer = write(tmp_path / "a.parquet", pa.table({"o": twice}))
    schema = pa.schema({"o": pa.struct({"x": pa.int64()})})
    for sql in ("o.x = 1", "o.x = 9"):
        assert kept(group_filter(sql, schema), file, footer) == [0]


def gaps(count, group=0, odd=None):
    """A column whose row groups of 1,000 rows are even numbers in ten sorted pages; of `odd` row groups, unsorted ones."""
    table = []
    for number in range(count):
        values = [page * 1000 + i % 100 for page in range(10) for i in range(100)]
        if odd is not None and number in odd:
            random.Random(number).shuffle(values)
        table += values
    noise = random.Random(group).randbytes(count * 1000 * 200)
    return pa.table({"x": table, "noise": [noise[i : i + 200] for i in range(0, len(noise), 200)]})


PAGES = {"row_group_size": 1000, "write_batch_size": 100, "data_page_size": 800}


def test_an_index_is_read_for_the_row_groups_that_are_asked_for_and_once(tmp_path):
    """Each row group costs its own index, a fraction of it, the first time; statistics are asked before."""
    file, footer = write(tmp_path / "a.parquet", gaps(40), **PAGES)
    meter = Meter()
    groups = group_filter("x = 500", footer.schema(), meter)
    assert groups.prune(ScanTask(file=file, footer=footer.only((7,)), row_groups=(7,))).row_groups == ()
    assert meter.requests.total() <= 2
    assert meter.bytes_fetched < footer.row_groups()[7].size() / 20
    assert kept(groups, file, footer) == []
    spent = meter.requests.total()
    assert spent <= 2 * 40
    assert meter.bytes_fetched < file.size / 20
    assert kept(groups, file, footer, cut=False) == []
    assert meter.requests.total() == spent
    for sql in ("x > 100000", "noise is null"):
        assert kept(group_filter(sql, footer.schema(), meter), file, footer) == []
    assert meter.requests.total() == spent


def test_a_scan_with_a_filter_gives_its_rows_and_fetches_no_other_row_groups(tmp_path):
    """The rows for which it is true, with the columns that were asked for, in order; of eight row groups one is decoded."""
    rows = [{"x": x, "s": f"row {x}", "deep": {"a": x % 3, "b": "b"}} for x in range(32)]
    table = pa.Table.from_pylist(rows)
    file, footer = write(tmp_path / "a.parquet", table)
    where = RowFilter(predicate=parse_predicate("x between 9 and 10", table.schema), schema=table.schema)
    task = ScanTask(file=file, footer=footer, row_groups=tuple(range(8)))
    for columns, expected in (
        (None, rows[9:11]),
        (["s"], [{"s": "row 9"}, {"s": "row 10"}]),
        (["s", "x"], [{"s": "row 9", "x": 9}, {"s": "row 10", "x": 10}]),
        (["deep.a"], [{"deep": {"a": 0}}, {"deep": {"a": 1}}]),
    ):
        wanted = choose(table.schema, columns, "") if columns else table.schema
        read = wanted if "x" in wanted.names else wanted.append(table.schema.field("x"))
        batches = list(scan_as([task], read, None, where=where.predicate))
        assert [row for batch in batches for row in batch.select(wanted.names).to_pylist()] == expected
        assert len(batches) == 1
    assert GroupFilter(where, None).prune(task).row_groups == (2,)


def test_several_row_groups_in_one_task(tmp_path):
    """A task of several row groups keeps those that may match, in its order, with a footer of all or of some."""
    table = pa.table({"x": range(40)})
    file, footer = write(tmp_path / "a.parquet", table)
    for own in (footer, footer.only((8, 3, 5, 0))):
        groups = group_filter("x >= 20 or x < 3", footer.schema())
        task = ScanTask(file=file, footer=own, row_groups=(8, 3, 0))
        assert groups.prune(task) == ScanTask(file=file, footer=own, row_groups=(8, 0))
        assert groups.prune(ScanTask(file=file, footer=own, row_groups=(5, 3))).row_groups == (5,)


def test_whole_and_cut_footers_tell_the_same_in_any_order(tmp_path):
    """What is known of a row group comes neither from another nor from the order in which they are asked for."""
    table = gaps(12, odd={1, 2, 3, 7, 9})
    file, footer = write(tmp_path / "a.parquet", table, **PAGES)
    order = random.Random(0).sample(range(12), 12)
    for cut in (False, True):
        groups = group_filter("x = 500", footer.schema())
        found = {}
        for group in [0, *order, *order]:
            own = footer.only((group,)) if cut else footer
            left = groups.prune(ScanTask(file=file, footer=own, row_groups=(group,))).row_groups
            assert found.setdefault(group, left) == left
        assert [group for group in range(12) if found[group]] == [1, 2, 3, 7, 9]


def test_an_index_that_spares_nothing_is_given_up(tmp_path):
    """After four useless looks in a row there is no other; a useful one between them starts the count anew."""
    for odd, looks, left in [(range(30), 4, 30), ({0, 1, 2, 4, 5, 6, 8, 9, 10, 11}, 12, 28)]:
        file, footer = write(tmp_path / f"{looks}.parquet", gaps(30, odd=set(odd)), **PAGES)
        meter = Meter()
        assert len(kept(group_filter("x = 500", footer.schema(), meter), file, footer)) == left
        assert meter.requests.total() == 2 * looks


def test_an_index_is_not_read_where_it_is_no_small_part_of_the_row_group(tmp_path):
    """Pages of one row have an index as large as they are, and row groups of which little is read are not worth one."""
    meter = Meter()
    file, footer = write(tmp_path / "a.parquet", pa.table({"x": [1, 9] * 20}))
    assert len(kept(group_filter("x = 5", footer.schema(), meter), file, footer)) == 10
    file, footer = write(tmp_path / "b.parquet", gaps(3), **PAGES)
    assert len(kept(group_filter("x = 500", pa.schema({"x": pa.int64()}), meter), file, footer)) == 3
    assert meter.requests.total() == 0


def test_few_files_are_open_and_one_is_opened_once(tmp_path, monkeypatch):
    """Row groups of a file share its reader, at most 16 are open, and what is known of all files stays known."""
    opened, closed = [], []
    plain = filtering.open_file

    def count(file, token, meter):
        reader = plain(file, token, meter)
        opened.append(file.uri)
        close = reader.close
        reader.close = lambda: (closed.append(file.uri), close())
        return reader

    monkeypatch.setattr(filtering, "open_file", count)
    files = [write(tmp_path / f"{i}.parquet", gaps(3, group=i), **PAGES) for i in range(40)]
    meter = Meter()
    groups = group_filter("x = 500", files[0][1].schema(), meter)
    for _ in range(2):
        for file, footer in files:
            assert kept(groups, file, footer) == []
            assert len(opened) - len(closed) <= 16
    assert opened == [file.uri for file, _ in files]
    assert len(closed) == 24
    assert meter.requests.total() <= 2 * 3 * 40


def index_extent(file, footer):
    """Where the page indexes of a file begin, its footer behind them."""
    ranges = page_index_ranges(
        FileFilter(footer=footer, schema=footer.schema(), predicate=parse_predicate("x = 500", footer.schema())), 0, 0
    )
    return ranges[0][0], file.size - 8 - len(footer.raw)


@settings(max_examples=100)
@given(seed=st.integers(0, 2**32), spared=st.integers(0, 400))
def test_a_broken_page_index_keeps_the_row_group(tmp_path_factory, seed, spared):
    """Where page indexes should be stands something else: row groups that may match are kept, and nothing is raised."""
    path = tmp_path_factory.getbasetemp() / "broken.parquet"
    file, footer = write(path, gaps(2, odd={0, 1}), **PAGES)
    start, end = index_extent(file, footer)
    with path.open("r+b") as out:
        out.seek(start + spared)
        out.write(random.Random(seed).randbytes(max(0, end - start - spared)))
    assert kept(group_filter("x = 9050", footer.schema()), file, footer) == [0, 1]


def test_a_page_index_that_is_not_in_the_file_keeps_the_row_group(tmp_path):
    """An index that would end behind the end of the file is not asked for."""
    file, footer = write(tmp_path / "a.parquet", gaps(2), **PAGES)
    start, _ = index_extent(file, footer)
    meter = Meter()
    short = FileRef(uri=file.uri, size=start + 10, content_id="short")
    assert kept(group_filter("x = 500", footer.schema(), meter), short, footer) == [0, 1]
    assert meter.requests.total() == 0


def test_row_groups_that_a_footer_lacks_are_an_error(tmp_path):
    """A task that does not fit its footer says so, and names the file."""
    file, footer = write(tmp_path / "a.parquet", pa.table({"x": range(12)}))
    groups = group_filter("x = 5", footer.schema())
    for own, group in [
        (footer, 3),
        (footer, -1),
        (footer.only((1,)), 0),
        (Footer(raw=footer.raw, kept=(7, 8, 9, 5)), 5),
    ]:
        with pytest.raises(CorruptFileError, match=r"a\.parquet: its Parquet footer has no row group"):
            groups.prune(ScanTask(file=file, footer=own, row_groups=(group,)))
    for raw in (b"", b"\0", footer.raw[:40], footer.raw[40:]):
        with pytest.raises(CorruptFileError, match=r"a\.parquet: its Parquet footer"):
            groups.prune(ScanTask(file=file, footer=Footer(raw=raw), row_groups=(1,)))


@settings(max_examples=300)
@given(data=st.data())
def test_a_damaged_footer_raises_our_errors_only(tmp_path_factory, data):
    """Bytes of a footer that were changed or cut off give an answer or a DatasetError."""
    path = tmp_path_factory.getbasetemp() / "damaged.parquet"
    table = pa.table(
        {"x": range(8), "s": ["a"] * 8, "d": pa.array([Decimal(1)] * 8), "t": [datetime.datetime(2026, 1, 1)] * 8}
    )
    file, footer = write(path, table)
    raw = bytearray(footer.raw)
    for _ in range(data.draw(st.integers(0, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    damaged = Footer(raw=bytes(raw[: data.draw(st.just(len(raw)) | st.integers(0, len(raw)))]))
    groups = group_filter("x = 5 and s > 'b' and d > 2 and t > '2026-01-02'", footer.schema())
    try:
        groups.prune(ScanTask(file=file, footer=damaged, row_groups=(0, 1)))
    except DatasetError:
        return
