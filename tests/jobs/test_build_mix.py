"""The mix is exactly the rows that the plan says, and the same bytes however it is built."""

import random
from collections import Counter
from itertools import pairwise

import duckdb
import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from jobs import exchange
from pipeline.errors import ConflictError, CorruptFileError, NotFoundError, RecipeError, SchemaError
from pipeline.hub.split import Mode

pytestmark = pytest.mark.spark

ORDERS = pytest.mark.parametrize("shuffle", ["blocks", "rows", "none"])
DICE = random.Random(5)


def _table(rows, start=0, size=20):
    """Rows with an id, text, a number with nulls, and a nested column."""
    ids = range(start, start + rows)
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "text": ["".join(DICE.choices("abcdefgh ", k=DICE.randrange(2 * size))) for _ in ids],
            "score": pa.array([None if n % 7 == 0 else n / 3 for n in ids]),
            "tags": pa.array([[{"k": str(n), "v": n}] * (n % 3) if n % 5 else None for n in ids]),
        }
    )


@pytest.fixture
def three(write):
    """Three sources: two files with small row groups; one large row group; one with fewer columns."""
    write("a/0.parquet", _table(150), 40)
    write("a/1.parquet", _table(90, 1000), 7)
    write("b.parquet", _table(300, 2000))
    write("c.parquet", _table(60, 3000).select(["id", "text"]), 25)


def _ids(table, source):
    return table.filter(pa.compute.equal(table["source"], source))["id"].to_pylist()


RECIPE = """
shuffle: {shuffle}
seed: {seed}
sources:
  - parquet: a/*.parquet
    name: a
    repeat: 2
  - parquet: b.parquet
    name: b
    take: 120
  - parquet: c.parquet
    name: c
    repeat: 2.5
"""


@ORDERS
def test_a_mix_holds_exactly_the_rows_that_the_plan_says(mix, three, tmp_path, shuffle, rows_of):
    """Each drawn row as often as planned, with its own content, nulls for columns that its source lacks."""
    built = mix(RECIPE.format(shuffle=shuffle, seed=3))
    table = built.table()
    columns = ["id", "text", "score", "tags"]
    assert table.column_names == [*columns, "source"]
    assert [draw.rows for draw in built.plan.draws] == [480, 120, 150]
    expected = {
        name: rows_of(pa.concat_tables([pq.read_table(file) for file in files], promote_options="default"))
        for name, files in {
            "a": [tmp_path / "a/0.parquet", tmp_path / "a/1.parquet"],
            "b": [tmp_path / "b.parquet"],
        }.items()
    }
    short = pq.read_table(tmp_path / "c.parquet")
    for column in ("score", "tags"):
        short = short.append_column(column, pa.nulls(60, table.schema.field(column).type))
    expected["c"] = rows_of(short)
    assert built.rows("a", columns) == Counter(expected["a"] * 2)
    taken = built.rows("b", columns)
    assert (taken.total(), set(taken.values())) == (120, {1})
    assert taken.keys() <= set(expected["b"])
    repeated = built.rows("c", columns)
    assert repeated.keys() == set(expected["c"])
    assert sorted(repeated.values()) == [2] * 30 + [3] * 30
    assert sum(built.report["per_shard"]["rows"]) == table.num_rows == built.plan.rows == 750


@ORDERS
def test_filters_and_expressions_agree_with_duckdb(mix, three, tmp_path, shuffle, rows_of):
    """`where` and `columns` mean what SQL means: the rows are those of the same query in DuckDB."""
    recipe = f"""
shuffle: {shuffle}
sources:
  - parquet: b.parquet
    name: b
    where: "length(text) > 15 and (score is null or id % 3 <> 0)"
    columns: {{key: "id * 10", text: "upper(text)", half: score / 2, kind: "'long'", tags: tags}}
  - parquet: a/*.parquet
    name: a
    where: "score between 10 and 40"
    columns: {{key: id, text: text}}
    repeat: 3
"""
    built = mix(recipe)
    database = duckdb.connect()
    wanted = database.sql(
        f"""select id * 10 as key, upper(text) as text, score / 2 as half, 'long' as kind, tags
        from '{tmp_path}/b.parquet' where length(text) > 15 and (score is null or id % 3 <> 0)"""
    ).to_arrow_table()
    assert built.rows("b", ["key", "text", "half", "kind", "tags"]) == Counter(rows_of(wanted))
    other = database.sql(
        f"select id as key, text from '{tmp_path}/a/*.parquet' where score between 10 and 40"
    ).to_arrow_table()
    assert built.rows("a", ["key", "text"]) == Counter(rows_of(other) * 3)
    kept = built.table().filter(pa.compute.equal(built.table()["source"], "a"))
    assert kept["half"].null_count == kept["kind"].null_count == kept.num_rows > 0


@ORDERS
def test_weights_decide_the_counts_in_the_files(mix, three, shuffle):
    """Shares of `total_rows`, exact to the row; a source with too few rows repeats evenly."""
    built = mix(
        f"shuffle: {shuffle}\ntotal_rows: 500\nsource_column: 'from'\nsources:\n"
        "  - {parquet: b.parquet, name: b, weight: 1}\n  - {parquet: c.parquet, name: c, weight: 0.5}"
    )
    table = built.table()
    counts = Counter(table["from"].to_pylist())
    assert counts == {"b": 333, "c": 167}
    times = Counter(table.filter(pa.compute.equal(table["from"], "c"))["id"].to_pylist())
    assert sorted(times.values()) == [2] * 13 + [3] * 47


@ORDERS
def test_odd_sources_are_mixed(mix, write, shuffle):
    """Columns only some files have, constants only, a filter without columns, odd names, no source column."""
    write("p/0.parquet", pa.table({"id": [1, 2], "x": pa.array([5, 6], pa.int8())}))
    write("p/1.parquet", pa.table({"id": [3], "y": ["only"]}))
    write("p/2.parquet", pa.table({"y": ["alone", None]}))
    write("q.parquet", pa.table({"a.b": [1, 2], "A": [3, 4], "a": [5, 6], "__position": [7, 8], '`x " y': ["ü", None]}))
    built = mix(
        f"shuffle: {shuffle}\nsource_column: false\nsources:\n  - parquet: p/*.parquet\n"
        "    where: '1 = 1'\n  - parquet: q.parquet"
    ).table()
    assert sorted(map(repr, zip(*(built[name].to_pylist() for name in ("id", "x", "y")), strict=True))) == sorted(
        map(repr, [(1, 5, None), (2, 6, None), (3, None, "only"), (None, None, "alone"), *[(None, None, None)] * 3])
    )
    names = ["a.b", "A", "a", "__position", '`x " y']
    rows = {tuple(row) for row in zip(*(built[name].to_pylist() for name in names), strict=True)}
    assert rows == {(1, 3, 5, 7, "ü"), (2, 4, 6, 8, None), (None,) * 5}
    constant = mix(
        f"shuffle: {shuffle}\nsources:\n  - parquet: p/*.parquet\n    name: p\n    columns: {{kind: \"'c'\", one: '1'}}"
    ).table()
    assert constant.to_pylist() == [{"kind": "c", "one": 1, "source": "p"}] * 5


def test_row_order_is_a_permutation_that_spreads_neighbours(mix, three):
    """Every row is there once, and almost none follows the one that it followed in its source."""
    table = mix("shuffle: rows\nsources:\n  - {parquet: b.parquet, name: b}\n  - {parquet: c.parquet, name: c}").table()
    ids = table["id"].to_pylist()
    assert sorted(ids) == [*range(2000, 2300), *range(3000, 3060)]
    assert sum(b - a == 1 for a, b in pairwise(ids)) <= 8
    assert all(sum(one < 3000 for one in ids[at : at + 60]) >= 30 for at in range(0, 360, 60))


def test_block_order_keeps_runs_together_and_none_keeps_the_order(mix, three):
    """Blocks are runs of the source; without a shuffle the files stand one after the other."""
    text = "shuffle: {}\nseed: 1\nsources:\n  - {{parquet: a/*.parquet, name: a}}\n  - {{parquet: c.parquet, name: c}}"
    unshuffled = mix(text.format("none")).table()["id"].to_pylist()
    assert unshuffled == [*range(150), *range(1000, 1090), *range(3000, 3060)]


def _big(rows, start):
    """Rows of 40 KB that do not compress: a few hundred make blocks of several pages."""
    dice = random.Random(start)
    return pa.table(
        {
            "id": range(start, start + rows),
            "data": [dice.randbytes(40_000) for _ in range(rows)],
            "words": [dice.randbytes(400).hex() if n % 9 else None for n in range(rows)],
        }
    )


@pytest.fixture
def big(write):
    write("big/0.parquet", _big(130, 0), 50)
    write("big/1.parquet", _big(60, 500), 60)
    write("small.parquet", _table(400, 9000), 100)


BIG = """
shuffle: {shuffle}
seed: {seed}
shard_bytes: 2MB
block_bytes: {block}
sources:
  - {{parquet: big/*.parquet, name: big}}
  - {{parquet: small.parquet, name: small, repeat: 1.5}}
"""


def test_a_block_mix_is_the_same_bytes_directly_and_through_the_exchange(mix, big, spark, monkeypatch):
    """Shards from blocks read one by one, and from rows exchanged in pieces and batches of any size, are equal files."""
    recipe = BIG.format(shuffle="blocks", seed=4, block="3MB")
    direct = mix(recipe, exchange=False)
    assert len(direct.files) == 1
    assert pq.ParquetFile(direct.files[0]).metadata.row_group(0).total_byte_size > 1 << 20
    assert mix(recipe, exchange=True).hashes() == direct.hashes()
    monkeypatch.setattr(exchange, "_PIECE_BYTES", 1)
    batch_rows = "spark.sql.execution.arrow.maxRecordsPerBatch"
    spark.conf.set(batch_rows, "7")
    try:
        assert mix(recipe, exchange=True).hashes() == direct.hashes()
    finally:
        spark.conf.unset(batch_rows)
    small = BIG.format(shuffle="blocks", seed=4, block="64KB")
    direct, exchanged = (mix(small, exchange=way) for way in (False, True))
    assert len(direct.files) > 2
    assert exchanged.hashes() == direct.hashes()


def test_a_row_mix_is_the_same_bytes_whatever_the_partitions(mix, big, spark, monkeypatch):
    """The same recipe and seed: equal files for any number of pieces, tasks and batches; another seed: another order."""
    recipe = BIG.format(shuffle="rows", seed=4, block="3MB")
    once = mix(recipe)
    assert len(once.files) == 4
    monkeypatch.setattr(exchange, "_PIECE_BYTES", 1)
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", "7")
    try:
        assert mix(recipe).hashes() == once.hashes()
    finally:
        spark.conf.unset("spark.sql.execution.arrow.maxRecordsPerBatch")
    other = mix(recipe.replace("seed: 4", "seed: 5"))
    assert not set(other.hashes()) & set(once.hashes())
    ids = [mixed.table()["id"].to_pylist() for mixed in (once, other)]
    assert ids[0] != ids[1]
    sizes = [pq.ParquetFile(file).metadata.num_rows for file in once.files]
    assert max(sizes) - min(sizes) <= 1


def test_a_corrupt_file_is_named(mix, write, three):
    """Bytes that are no pages, in a file whose footer is fine, end the build with the file's name; nothing is published."""
    path = write("bad.parquet", _table(5000), 5000)
    data = bytearray(path.read_bytes())
    data[100:2000] = bytes(1900)
    path.write_bytes(data)
    with pytest.raises(CorruptFileError, match=r"bad\.parquet: row group 0 cannot be read"):
        mix("sources:\n  - parquet: bad.parquet", target=path.parent / "mix-bad")
    assert not list((path.parent / "mix-bad").glob("data/*"))


def test_what_does_not_fit_is_said_before_anything_is_built(mix, three, write, tmp_path):
    """Empty sources, unknown columns, conflicts: one line with the recipe's place, and no folder is made."""
    write("d.parquet", pa.table({"text": [1, 2]}))
    cases = [
        (
            "  - {parquet: b.parquet, where: id < 0}",
            NotFoundError,
            r"mix.yaml:2:5: source 'b' has no rows for which id < 0",
        ),
        ("  - {parquet: b.parquet, columns: {x: txet}}", RecipeError, r"mix.yaml:2:\d+: .*'txet'.*'text'"),
        ("  - {parquet: b.parquet, where: idd > 3}", RecipeError, r"mix.yaml:2:\d+: .*idd.*'id'"),
        ("  - parquet: [b.parquet, d.parquet]", RecipeError, r"d.parquet: column 'text' is int64, but string"),
        (
            "  - parquet: b.parquet\n  - parquet: d.parquet",
            SchemaError,
            r"source 'd': column 'text' is int64, but .*string",
        ),
        ("  - parquet: nothing/*.parquet", NotFoundError, r"mix.yaml:2:5: .*nothing/\*.parquet.*no such Parquet file"),
    ]
    for source, kind, message in cases:
        with pytest.raises(kind, match=message):
            mix(f"sources:\n{source}", target=tmp_path / "never")
    assert not (tmp_path / "never").exists()


def test_a_column_is_found_by_its_exact_name_whatever_that_is(mix, write):
    """A name that is no SQL is a column's if the source has it, and else an error at its own line."""
    write("odd.parquet", pa.table({"what?": [1, 2], "a b(": [3, 4]}))
    text = "sources:\n  - parquet: odd.parquet\n    columns:\n      q: what?\n      p: 'a b('\n"
    table = mix(text).table()
    assert (sorted(table["q"].to_pylist()), sorted(table["p"].to_pylist())) == ([1, 2], [3, 4])
    with pytest.raises(RecipeError, match=r"mix.yaml:5:7: source 'odd', column 'p': 1-based column"):
        mix(text.replace("a b(", "a b(("))


def test_a_folder_of_somebodys_files_is_not_overwritten(mix, three, write, tmp_path):
    """Parquet that no card names, and files that the mix is made of, are refused before anything is built, and stay."""
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}
    for mode in (None, Mode.OVERWRITE):
        with pytest.raises(ConflictError, match=r"holds 2 Parquet files \('0.parquet'\) that no README.md there names"):
            mix("sources:\n  - parquet: b.parquet", target=tmp_path / "a", mode=mode)
    target = tmp_path / "mixed"
    mix("sources:\n  - parquet: b.parquet", target=target)
    mixed = {path: path.read_bytes() for path in target.rglob("*.parquet")}
    with pytest.raises(
        ConflictError, match=r"--overwrite would delete '.*train-00000-of-00001.parquet', which source 'm' "
    ):
        mix("sources:\n  - {parquet: mixed/data, name: m}\nsource_column: from", target=target, mode=Mode.OVERWRITE)
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv/train.csv").write_text("a\n1\n")
    with pytest.raises(SchemaError, match="its data is csv"):
        mix("sources:\n  - parquet: b.parquet", target=tmp_path / "csv", mode=Mode.APPEND)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")} == before | mixed


def test_an_append_needs_the_columns_of_what_is_there(mix, three, tmp_path):
    """Other columns or types are named, and the split stays as it was."""
    target = tmp_path / "grown"
    mix("sources:\n  - {parquet: c.parquet, name: c}", target=target)
    before = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    with pytest.raises(ConflictError, match="pass --overwrite to replace them, or --append to add to them"):
        mix("sources:\n  - {parquet: c.parquet, name: c}\nseed: 9", target=target)
    with pytest.raises(SchemaError, match=r"'score' is new, 'tags' is new; change 'columns', or pass --overwrite"):
        mix("sources:\n  - parquet: b.parquet", target=target, mode=Mode.APPEND)
    for columns, said in (
        ("{id: id}", "'text' is missing"),
        ("{id: 'id::int', text: text}", "'id' is int32, there it is int64"),
    ):
        with pytest.raises(SchemaError, match=said):
            mix(f"sources:\n  - parquet: c.parquet\n    columns: {columns}", target=target, mode=Mode.APPEND)
    assert {path: path.read_bytes() for path in target.rglob("*") if path.is_file()} == before
    grown = mix("sources:\n  - {parquet: c.parquet, name: c}\nseed: 9", target=target, mode=Mode.APPEND)
    assert sorted(grown.table()["id"].to_pylist()) == sorted([*range(3000, 3060)] * 2)
    assert not (target / ".pipeline/staged").exists()
