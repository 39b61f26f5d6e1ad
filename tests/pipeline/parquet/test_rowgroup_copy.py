"""Row groups go from file to file without being decoded: every writer's, under other names, read the same by every reader."""

import io
import random

import duckdb
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from pipeline.parquet.rowgroup_copy import why_not_copied
from tests.pipeline.parquet.raw_files import Source, check_pages, copied
from tests.pipeline.parquet.values import COLUMNS, table_of, value


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    kinds=st.lists(COLUMNS, min_size=1, max_size=4),
    nullable=st.booleans(),
    rows=st.integers(0, 40),
    group=st.integers(1, 40),
    seed=st.integers(0, 99),
    codec=st.sampled_from(["none", "snappy", "gzip", "zstd", "lz4", "brotli"]),
    pages=st.sampled_from(["1.0", "2.0"]),
    options=st.fixed_dictionaries(
        {
            "use_dictionary": st.booleans(),
            "write_page_index": st.booleans(),
            "write_page_checksum": st.booleans(),
            "store_schema": st.booleans(),
            "write_statistics": st.booleans(),
            "data_page_size": st.sampled_from([20, 100, 1 << 20]),
            "write_batch_size": st.sampled_from([1, 7, 1024]),
        }
    ),
)
def test_what_pyarrow_wrote_is_copied_row_for_row(kinds, nullable, rows, group, seed, codec, pages, options):
    """Whatever the types, nulls, codec, pages and indexes: renamed, reordered, mixed up copies hold the same rows."""
    table = table_of(kinds, rows, seed, nullable)
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=group, compression=codec, data_page_version=pages, **options)
    source = Source(sink.getvalue())
    try:
        expected = [pq.ParquetFile(sink).read_row_group(position) for position in range(len(source.groups))]
    except pa.ArrowException:  # pyarrow cannot read some files of very small pages that it wrote
        reject()
    known = source.footer.schema()
    rng = random.Random(seed)
    names = rng.sample(known.names, len(known))
    schema = pa.schema([known.field(name).with_name(f"new {name}") for name in names], metadata={"key": "text"})
    columns = {f"new {name}": name for name in names}
    assert why_not_copied(source.footer, schema, columns) is None
    order = [rng.randrange(len(source.groups)) for _ in range(5)]
    blocks = [source.groups[start : start + rng.randrange(3)] for start in order]
    data = copied(schema, columns, blocks)
    check_pages(data)
    wanted = [group.position for block in blocks for group in block]
    wanted = [position for position in wanted if source.groups[position].rows]
    found = pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)
    assert found.num_row_groups == len(wanted)
    for place, position in enumerate(wanted):
        one, two = found.read_row_group(place), expected[position].select(names)
        assert one.schema.types == two.schema.types
        assert one.rename_columns(names).to_pylist() == two.to_pylist()
    assert found.schema_arrow.metadata[b"key"] == b"text"


ROWS = 5_000
EVERYTHING = {
    "id": pa.int64(), "small": pa.int16(), "ratio": pa.float64(), "text": pa.string(), "raw": pa.binary(),
    "day": pa.date32(), "at": pa.timestamp("us"), "when": pa.timestamp("us", "UTC"), "flag": pa.bool_(),
    "list": pa.list_(pa.int32()), "deep": pa.list_(pa.list_(pa.string())),
    "image": pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    "turns": pa.list_(pa.struct([("role", pa.string()), ("words", pa.list_(pa.string()))])),
}  # fmt: skip


def everything():
    """A table of what all writers have in common, long enough for several of DuckDB's row groups."""
    rng = random.Random("everything")
    columns = {name: pa.array([value(kind, rng) for _ in range(ROWS)], kind) for name, kind in EVERYTHING.items()}
    return pa.table(columns | {"id": pa.array(range(ROWS))})


def by_polars(table, path):
    pl.from_arrow(table).write_parquet(path, row_group_size=1500)


def by_duckdb(table, path):
    duckdb.from_arrow(table).write_parquet(str(path), row_group_size=2048, compression="zstd")


def by_duckdb_2(rows, path):
    duckdb.sql(f"copy rows to '{path}' (row_group_size 2048, parquet_version 'v2')")


def by_pyarrow(table, path):
    pq.write_table(table, path, row_group_size=1500, write_page_index=True, use_content_defined_chunking=True)


@pytest.mark.parametrize("write", [by_polars, by_duckdb, by_duckdb_2, by_pyarrow])
def test_a_copy_is_read_by_everybody_as_its_source_is(write, tmp_path):
    """Of whichever writer: pyarrow, DuckDB and Polars read from the copy what they read from the source, filters included."""
    write(everything(), tmp_path / "source.parquet")
    source = Source((tmp_path / "source.parquet").read_bytes())
    schema = source.footer.schema().append(pa.field("source", pa.string()))
    columns = {name: name for name in EVERYTHING}
    assert why_not_copied(source.footer, schema, columns) is None
    assert len(source.groups) > 1
    blocks = [[group] for group in reversed(source.groups)]
    data = copied(schema, columns, blocks, {"source": pa.scalar("here")})
    check_pages(data)
    (tmp_path / "copy.parquet").write_bytes(data)
    first, second = str(tmp_path / "source.parquet"), str(tmp_path / "copy.parquet")
    whole, copy = pq.read_table(first), pq.read_table(second)
    assert copy.drop(["source"]).sort_by("id").equals(whole.sort_by("id"))
    assert set(copy["source"].to_pylist()) == {"here"}
    for sql in ("true", "id between 2100 and 2140", "text = 'yes' and small < 9", "image.path is null", "flag"):
        queries = [f"select * exclude source from '{second}'", f"from '{first}'"]
        one, two = (duckdb.sql(f"{query} where {sql} order by id").fetchall() for query in queries)
        assert one == two
    for keep in (pl.lit(True), pl.col("id").is_between(2100, 2140), pl.col("text") == "yes", pl.col("flag")):
        one, two = (pl.scan_parquet(path).filter(keep).sort("id").collect() for path in (second, first))
        assert one.drop("source").equals(two)
    wanted = [("id", ">", 4000), ("small", "<", 20)]
    assert pq.read_table(second, filters=wanted)["id"].to_pylist() == sorted(
        pq.read_table(first, filters=wanted)["id"].to_pylist(), key=pq.read_table(second)["id"].to_pylist().index
    )
