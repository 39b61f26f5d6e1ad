"""Batches -> Parquet files that everybody reads, cut where they were asked to be cut, deduplicating where they promise to."""

import hashlib
import io
import random
from contextlib import nullcontext
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from pipeline.errors import OptionError
from pipeline.hub.upload import Upload
from pipeline.parquet.layout import MARKER, Kind, Layout, leaves, pad, writer_options
from pipeline.parquet.writer import FileWriter, SplitWriter
from pipeline.streaming import stream

BLOCKS, EDITABLE = Layout(kind=Kind.BLOCKS), Layout(kind=Kind.EDITABLE)
IMAGE = {"image": {"_type": "Image"}}
SCHEMA = pa.schema(
    [("id", pa.int64()), ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("text", pa.string())]
)
BYTES = pa.schema([("id", pa.int64()), SCHEMA.field("image"), ("raw", pa.binary())])


def written(sink, *tables, layout=EDITABLE, features=None):
    """A file, a row group a table."""
    with sink.open("wb") if isinstance(sink, Path) else nullcontext(sink) as file:
        writer = FileWriter(file, tables[0].schema, layout=layout, features=features)
        for table in tables:
            writer.write_row_group(table)
        return writer.close()


class Shelf:
    """Files that a SplitWriter makes, in memory."""

    def __init__(self, layout, features=None):
        self.sinks, self.written, self.layout, self.features = [], [], layout, features

    def split(self, **options):
        return SplitWriter(self.open, lambda writer: self.written.append(writer.close()), **options)

    def open(self, index):
        assert index == len(self.sinks)
        self.sinks.append(io.BytesIO())
        return FileWriter(self.sinks[-1], self.schema, layout=self.layout, features=self.features)

    def tables(self):
        return [pq.read_table(io.BytesIO(sink.getvalue())) for sink in self.sinks]


@settings(deadline=None, max_examples=60)
@given(
    batches=st.lists(st.integers(0, 30), max_size=8),
    max_rows=st.none() | st.integers(1, 40),
    group=st.integers(1, 400),
    at_least_one=st.booleans(),
    layout=st.sampled_from([BLOCKS, EDITABLE]),
)
def test_files_hold_exactly_max_rows_and_all_rows_in_order(batches, max_rows, group, at_least_one, layout):
    """Every file but the last has exactly that many rows, whatever the batches; no row is lost, repeated or moved."""
    shelf = Shelf(layout)
    shelf.schema = pa.schema([("x", pa.int64())])
    split, at = shelf.split(row_group_bytes=group, max_rows=max_rows), 0
    for rows in batches:
        split.write(pa.record_batch({"x": pa.array(range(at, at + rows), pa.int64())}))
        at += rows
    split.close(shelf.schema, at_least_one=at_least_one)
    tables = shelf.tables()
    assert [x for table in tables for x in table["x"].to_pylist()] == list(range(at))
    counts = [table.num_rows for table in tables]
    assert [one.rows for one in shelf.written] == counts
    assert [one.size for one in shelf.written] == [len(sink.getvalue()) for sink in shelf.sinks]
    if max_rows and at:
        assert counts == [max_rows] * (at // max_rows) + ([at % max_rows] if at % max_rows else [])
    assert len(tables) == (max(1, len(tables)) if at or at_least_one else 0)
    if not at:
        assert len(tables) == int(at_least_one)


def test_a_file_ends_at_its_bytes():
    """Files end soon after `max_bytes` were really written: never below it but for the last, and by one batch above at most."""
    shelf, rng = Shelf(EDITABLE), random.Random(4)
    shelf.schema = pa.schema([("x", pa.binary())])
    split = shelf.split(row_group_bytes=10**8, max_bytes=100_000)
    for _ in range(60):
        split.write(pa.record_batch({"x": [rng.randbytes(10_000)]}))
    split.close(shelf.schema, at_least_one=False)
    sizes = [one.size for one in shelf.written]
    assert all(100_000 <= size < 125_000 for size in sizes[:-1])
    assert sum(one.rows for one in shelf.written) == 60


def test_no_rows_per_file_is_refused():
    """`max_rows` of nothing is an OptionError, before any file is opened."""
    with pytest.raises(OptionError, match="must be at least 1, got 0"):
        Shelf(BLOCKS).split(row_group_bytes=1, max_rows=0)


def rows(count, seed=0, size=200_000):
    """Rows of random bytes, as images are."""
    rng = random.Random(seed)
    images = [{"bytes": rng.randbytes(size), "path": f"{seed}-{i}.png"} for i in range(count)]
    return pa.table({"id": list(range(count)), "image": images, "text": ["no, yes"] * count}, schema=SCHEMA)


def blocks_file(sink, tables, identity="a"):
    """A `blocks` file, one row group a table."""
    writer = FileWriter(sink, SCHEMA, layout=BLOCKS, features=IMAGE, identity=identity)
    for table in tables:
        writer.write_row_group(table)
    return writer.close()


@pytest.mark.parametrize("layout", [BLOCKS, EDITABLE], ids=str)
def test_a_file_is_read_by_everybody(layout, tmp_path, spark):
    """pyarrow (with checks), DuckDB, Polars, datasets and Spark read the same rows from both layouts, pads and all."""
    import duckdb
    import polars
    from datasets import Dataset, Image

    table, path = rows(7, size=3000), tmp_path / "a.parquet"
    with path.open("wb") as sink:
        writer = FileWriter(sink, SCHEMA, layout=layout, features=IMAGE)
        for at in (0, 3, 6):
            writer.write_row_group(table.slice(at, 3))
        writer.write_row_group(table.slice(0, 0))
        done = writer.close()
    assert (done.rows, done.size) == (7, path.stat().st_size)
    file = pq.ParquetFile(path, page_checksum_verification=True)
    assert file.read().equals(table)
    assert file.num_row_groups == 3
    assert all(file.metadata.row_group(i).column(0).has_offset_index for i in range(3))
    assert file.schema_arrow.metadata[b"huggingface"]
    wanted = table.to_pylist()
    assert duckdb.sql(f"select * from '{path}' order by id").to_arrow_table().to_pylist() == wanted
    assert polars.read_parquet(path).to_dicts() == wanted
    assert polars.scan_parquet(path).filter(polars.col("id") == 5).collect().to_dicts() == wanted[5:6]
    found = Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    assert found.features["image"] == Image()
    assert found.with_format("arrow")[:].to_pylist() == wanted
    assert [row.asDict(recursive=True) for row in spark.read.parquet(str(path)).orderBy("id").collect()] == [
        {**row, "image": {**row["image"], "bytes": row["image"]["bytes"]}} for row in wanted
    ]


def test_the_same_rows_are_the_same_bytes():
    """A file depends on its row groups and its identity, and on nothing else."""
    first, again, other = io.BytesIO(), io.BytesIO(), io.BytesIO()
    blocks_file(first, [rows(3, 1), rows(3, 2)])
    blocks_file(again, [rows(3, 1).combine_chunks(), pa.concat_tables([rows(3, 2).slice(0, 1), rows(3, 2).slice(1)])])
    blocks_file(other, [rows(3, 1), rows(3, 2)], identity="b")
    assert first.getvalue() == again.getvalue()
    assert first.getvalue() != other.getvalue()
    at = [i for i in range(len(first.getvalue())) if first.getvalue().startswith(MARKER, i)]
    assert len(at) == 6


def upload(ref, tables, path, identity):
    """The bytes of a `blocks` file that were new to storage, and all of them."""
    with Upload(ref, None) as session:
        stream = session.open(path)
        blocks_file(stream, tables, identity)
        stream.close()
        stored = session.finish()[0]
    return stored.new_bytes, stored.size


def test_a_permutation_of_blocks_uploads_next_to_nothing(new_ref):
    """Sixteen blocks of 1 MB in another order: under 2 % of the bytes are new, by hf_xet's own count."""
    blocks = [
        rows(5, seed) for seed in range(7000, 7016)
    ]  # of no other test: hf_xet remembers what this process uploaded
    new, size = upload(new_ref, blocks, "a.parquet", "a")
    assert new > size * 0.95
    assert size > 16_000_000
    random.Random(5).shuffle(blocks)
    new, size = upload(new_ref, blocks, "b.parquet", "b")
    assert new < size * 0.02
    new, size = upload(new_ref, [*blocks[3:9], rows(5, 7099), *blocks[:3]], "c.parquet", "c")
    assert 1_000_000 < new < 1_000_000 + size * 0.02


def test_the_marker_still_cuts_a_chunk(new_ref):
    """With the installed hf_xet a pad ends a chunk wherever it stands: what is behind it deduplicates after any prefix."""
    rng = random.Random("marker")
    prefixes = [rng.randbytes(size) for size in (70_001, 333_333)]
    tail, sizes = pad(b"0123456789abcdef") + rng.randbytes(3_000_000), []
    for number, prefix in enumerate(prefixes):
        with Upload(new_ref, None) as session:
            stream = session.open(f"{number}.bin")
            stream.write(prefix + tail)
            stream.close()
            sizes.append(session.finish()[0].new_bytes)
    assert sizes[0] == len(prefixes[0] + tail)
    assert sizes[1] <= len(prefixes[1]) + len(pad(b"0123456789abcdef"))


def test_an_edit_uploads_little(new_ref):
    """In the `editable` layout rows inserted in the middle cost little more than themselves."""
    rng = random.Random("edit")
    texts = [rng.randbytes(400).hex() for _ in range(10_000)]
    news = []
    for number, values in enumerate(
        (texts, [*texts[:5000], *(rng.randbytes(400).hex() for _ in range(50)), *texts[5000:]])
    ):
        with Upload(new_ref, None) as session:
            stream = session.open(f"{number}.parquet")
            schema = pa.schema([("t", pa.string())])
            writer = FileWriter(stream, schema, layout=EDITABLE, features=None)
            writer.write_row_group(pa.table({"t": values}, schema=schema))
            writer.close()
            stream.close()
            stored = session.finish()[0]
            news.append(stored.new_bytes / stored.size)
    assert news[0] > 0.9
    assert news[1] < 0.25


@pytest.mark.parametrize("layout", [BLOCKS, EDITABLE], ids=str)
def test_bytes_have_no_bounds_and_their_nulls_are_found(layout, tmp_path, spark, new_ref, put):
    """Statistics are of the other columns only, and `IS NULL` of bytes is right for everybody."""
    import duckdb
    import polars

    path = tmp_path / "a.parquet"
    image = [{"bytes": b"x", "path": None}, None, {"bytes": None, "path": "a"}, None]
    table = pa.table({"id": [1, 2, 3, 4], "image": image, "raw": [b"y", None, b"z", None]}, schema=BYTES)
    written(path, table.slice(0, 2), table.slice(2), layout=layout)
    groups = pq.read_metadata(path).row_group(0)
    with_bounds = {groups.column(i).path_in_schema: groups.column(i).is_stats_set for i in range(groups.num_columns)}
    assert with_bounds == {"id": True, "image.bytes": False, "image.path": True, "raw": False}
    assert pq.read_table(path, filters=pc.field("raw").is_null())["id"].to_pylist() == [2, 4]
    assert pq.read_table(path, filters=pc.field("image", "bytes").is_valid())["id"].to_pylist() == [1]
    put(new_ref.repo_id, {"train.parquet": path.read_bytes()})
    for sql, ids in (
        ("raw IS NULL AND id > 1", [2, 4]),
        ("raw IS NOT NULL", [1, 3]),
        ("image.bytes IS NULL", [2, 3, 4]),
    ):
        assert [row["id"] for row in stream(new_ref.repo_id, filter=sql, decode=False)] == ids
    assert duckdb.sql(f"select id from '{path}' where raw is null order by id").fetchall() == [(2,), (4,)]
    assert duckdb.sql(f"select id from '{path}' where raw > 'y'::blob").fetchall() == [(3,)]
    assert polars.scan_parquet(path).filter(polars.col("raw").is_null()).collect()["id"].to_list() == [2, 4]
    rows = spark.read.parquet(str(path))
    assert [row["id"] for row in rows.where("raw is null").orderBy("id").collect()] == [2, 4]
    assert [row["id"] for row in rows.where("image.bytes is not null or raw = X'7A'").orderBy("id").collect()] == [1, 3]


@pytest.mark.parametrize("layout", [BLOCKS, EDITABLE], ids=str)
def test_a_flipped_bit_is_found_by_who_looks_for_it(layout, tmp_path):
    """Pages carry checksums: bytes of an image that changed on a disk are an error, not another image."""
    path = tmp_path / "a.parquet"
    written(path, pa.table({"raw": [b"0123456789" * 10]}), layout=layout)
    content = path.read_bytes()
    assert content.count(b"0123456789" * 10) == 1
    path.write_bytes(content.replace(b"0123456789" * 10, b"0123456789" * 9 + b"012345678:"))
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(path, page_checksum_verification=True)


def test_only_blocks_are_digested(monkeypatch):
    """Where there are no pads nobody would read a digest of what was written, which takes as long as to write images."""
    monkeypatch.setattr(hashlib, "blake2b", None)
    sink = io.BytesIO()
    writer = FileWriter(sink, SCHEMA, layout=EDITABLE, features=IMAGE)
    writer.write_row_group(rows(1))
    assert writer.close().size == len(sink.getvalue())
    with pytest.raises(TypeError):
        blocks_file(io.BytesIO(), [rows(1)])


def repeating(count):
    """Columns of few and of many distinct values."""
    rng = random.Random(5)
    langs = [f"a language {rng.randrange(10)}" for _ in range(count)]
    words = [[(f"k{rng.randrange(9)}", index)] for index in range(count)]
    return pa.table(
        {
            "lang": langs,
            "url": [f"https://example.org/{index}" for index in range(count)],
            "stars": pa.array([rng.choice([1, 2, None]) for _ in range(count)], pa.int8()),
            "id": range(count),
            "tags": [rng.sample(langs, 3) for _ in range(count)],
            "meta": [{"score": rng.choice([0.5, 1.5]), "text": rng.randbytes(20).hex()} for _ in range(count)],
            "words": pa.array(words, pa.map_(pa.string(), pa.int64())),
            "key": [rng.choice([b"a", b"b"]) for _ in range(count)],
            "image": [rng.choice(["a.png", "b.png"]) for _ in range(count)],
            "nothing": pa.nulls(count, pa.string()),
            "kind": pa.array(langs).dictionary_encode(),
            "big": [rng.choice(["x", "y"]) * 40_000 for _ in range(count)],
        }
    )


FEW = {"lang", "stars", "tags.list.element", "meta.score", "words.key_value.key", "kind"}


def with_dictionaries(sink):
    metadata = pq.read_metadata(sink)
    chunks = [
        metadata.row_group(g).column(i) for g in range(metadata.num_row_groups) for i in range(metadata.num_columns)
    ]
    return {chunk.path_in_schema for chunk in chunks if chunk.has_dictionary_page}


def test_columns_of_few_values_have_dictionaries():
    """As the first row group has it, whatever the batches; never bytes, media, or what would make a large page."""
    table = repeating(500)
    files = []
    for size in (1_000, 77):
        shelf = Shelf(EDITABLE, IMAGE)
        shelf.schema = table.schema
        split = shelf.split(row_group_bytes=1 << 30, row_group_rows=250)
        for batch in pa.Table.from_batches(table.to_batches(max_chunksize=size)).to_batches():
            split.write(batch)
        split.close(table.schema, at_least_one=True)
        files.append([sink.getvalue() for sink in shelf.sinks])
        assert with_dictionaries(shelf.sinks[0]) == FEW
        assert shelf.tables()[0].to_pylist() == table.to_pylist()
    assert files[0] == files[1]
    sink = io.BytesIO()
    written(sink, table, layout=BLOCKS)
    assert with_dictionaries(sink) == set()


def test_a_dictionary_needs_eight_rows_a_value():
    """Eight values of each are enough, seven are not; a column that is unlike its first row group goes on without."""
    for each, wanted in ((8, {"x"}), (7, set())):
        sink = io.BytesIO()
        written(sink, pa.table({"x": [f"{index}" for index in range(100)] * each}))
        assert with_dictionaries(sink) == wanted
    changed = io.BytesIO()
    rng = random.Random(6)
    many = pa.table({"x": [rng.randbytes(50).hex() for _ in range(5_000)]})
    written(changed, pa.table({"x": ["a"] * 5_000}), many)
    assert pq.read_table(changed)["x"].to_pylist() == ["a"] * 5_000 + many["x"].to_pylist()
    dictionary = pq.read_metadata(changed).row_group(1).column(0)
    assert dictionary.data_page_offset - dictionary.dictionary_page_offset < 150_000


def test_media_is_stored_plain_and_text_is_not():
    """Bytes of images are compressed already; text is compressed with zstd, without dictionaries unless blocks ask for them."""
    blocks, editable = (writer_options(layout, SCHEMA, IMAGE) for layout in (BLOCKS, EDITABLE))
    assert blocks["compression"] == {"id": "zstd", "image.bytes": "none", "image.path": "none", "text": "zstd"}
    assert blocks["use_dictionary"] == []
    assert editable["use_dictionary"] == []
    assert editable["use_content_defined_chunking"]
    assert not blocks["use_content_defined_chunking"]


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.int8()),
        pa.large_list(pa.int8()),
        pa.list_(pa.int8(), 2),
        pa.list_view(pa.struct([("a", pa.int8()), ("b", pa.int8())])),
        pa.map_(pa.string(), pa.list_(pa.int8())),
        pa.struct([("a.b", pa.int8()), ("c", pa.struct([("d", pa.bool_())]))]),
        pa.uuid(),
    ],
    ids=str,
)
def test_every_parquet_column_has_its_top_level_column(kind):
    """Our list of leaves is Parquet's own, in its order, for every nesting; dots in names included."""
    schema = pa.schema([("x.y", kind), ("z", pa.int8())])
    sink = io.BytesIO()
    pq.write_table(schema.empty_table(), sink)
    metadata = pq.read_metadata(sink)
    paths = [metadata.schema.column(i).path for i in range(metadata.num_columns)]
    assert [path for path, _, _ in leaves(schema)] == paths
    assert [column for _, column, _ in leaves(metadata.schema.to_arrow_schema())] == ["x.y"] * (len(paths) - 1) + ["z"]
