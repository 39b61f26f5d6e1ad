"""Sources counted: what conditions leave, and what `dedup_by` drops, against the same in plain Python."""

import math
import random
import textwrap

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from pipeline.errors import CorruptFileError, RecipeError
from pipeline.mix import survey as surveys
from pipeline.mix.counting import conclude, survey_run
from pipeline.mix.plan import align_mix
from pipeline.mix.reading import group_rows
from pipeline.mix.recipe import parse_recipe
from pipeline.mix.sources import open_source
from pipeline.mix.survey import plan_survey
from pipeline.parquet.footer import read_footer
from pipeline.parquet.scan import scan
from pipeline.parquet.task import ScanTask

# The same columns in the types of different sources: the mix has the wider ones.
SCHEMAS = [
    pa.schema(
        [("n", pa.int64()), ("id", pa.int32()), ("x", pa.float32()), ("t", pa.string()), ("l", pa.list_(pa.int32()))]
    ),
    pa.schema(
        [
            ("n", pa.int64()),
            ("id", pa.int64()),
            ("x", pa.float64()),
            ("t", pa.large_string()),
            ("l", pa.list_(pa.int64())),
        ]
    ),
]


def _tables(rng):
    """The files of some sources: rows from few values, so that most are there several times, in files and row groups."""

    def values(column, count):
        choices = {
            "id": [0, 1, 2, None],
            "x": [0.0, -0.0, math.nan, 1.5, None],
            "t": ["", "a", None],
            "l": [[], [1], [None], None],
        }[column]
        return [rng.choice(choices) for _ in range(count)]

    def table(schema):
        count = rng.choice([0, 1, 7, 40])
        columns = {"n": rng.sample(range(10**6), count)} | {name: values(name, count) for name in schema.names[1:]}
        return pa.table(columns, schema=schema)

    return [[table(rng.choice(SCHEMAS)) for _ in range(rng.randint(1, 3))] for _ in range(rng.randint(1, 3))]


@pytest.fixture
def mixed(tmp_path):
    """Sources with these files, opened under a recipe with these lines, each source with its own."""

    def make(tables, *lines, each=(), row_group_size=5):
        text = ["target: ns/mix", *lines, "sources:"]
        for number, files in enumerate(tables):
            folder = tmp_path / f"s{number}"
            folder.mkdir(exist_ok=True)
            for place, table in enumerate(files):
                pq.write_table(table, folder / f"{place}.parquet", row_group_size=row_group_size)
            text += [f"- parquet: s{number}", f"  name: s{number}", *(f"  {line}" for line in each)]
        recipe = parse_recipe("\n".join(text), str(tmp_path / "mix.yaml"))
        sources = [open_source(recipe, index, None, None, allow_code=True) for index in range(len(tables))]
        return recipe, sources, align_mix(recipe, sources)[0]

    return make


def _count(recipe, sources, schema, rng=None):
    """All runs read, in any order."""
    survey = plan_survey(recipe, sources, schema)
    runs = survey.runs()
    if rng is not None:
        rng.shuffle(runs)
    return conclude(survey, sources, {run: survey_run(survey, run, None) for run in runs})


def _plain(value):
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else value
    return tuple(map(_plain, value)) if isinstance(value, list) else value


def _numbers(source):
    """The `n` of the rows that a builder gets, for each file and row group."""
    found = []
    for place, file in enumerate(source.files):
        footer = read_footer(file.file, None)
        found.append([])
        for group in range(len(file.rows)):
            task = ScanTask(file=file.file, footer=footer, row_groups=(group,))
            batches = scan([task], None, source.columns_in(place))
            rows = list(group_rows(source, place, group, batches))
            found[-1].append([n for batch in rows for n in batch["n"].to_pylist()])
    return found


@pytest.mark.parametrize("seed", range(10))
def test_dedup_keeps_what_a_set_would(mixed, monkeypatch, seed):
    """By any columns, behind a condition or not, within and across sources whose types differ, in any order of the work."""
    rng = random.Random(seed)
    tables = _tables(rng)
    by = rng.choice([["id"], ["x"], ["t", "l"], ["id", "x"], ["id", "t", "x", "l"]])
    where = rng.random() < 0.5
    recipe, sources, schema = mixed(tables, f"dedup_by: [{', '.join(by)}]", each=["where: id > 0"] if where else [])
    seen = {}
    expected, dropped = [], []
    for number, files in enumerate(tables):
        dropped.append([0, 0])
        expected.append([])
        for table in files:
            rows = table.to_pylist()
            groups = [rows[start : start + 5] for start in range(0, len(rows) or 1, 5)]
            expected[-1].append([])
            for group in groups:
                kept = [row for row in group if not where or (row["id"] or 0) > 0]
                firsts = []
                for row in kept:
                    key = tuple(_plain(row[name]) for name in by)
                    if key in seen:
                        dropped[-1][seen[key] < number] += 1
                    else:
                        seen[key] = number
                        firsts.append(row["n"])
                expected[-1][-1].append(firsts)
    counted = _count(recipe, sources, schema)
    for source, numbers, gone in zip(counted, expected, dropped, strict=True):
        assert source.exact
        assert [file.kept for file in source.files] == [tuple(map(len, groups)) for groups in numbers]
        assert _numbers(source) == numbers
        assert [source.selection.within, source.selection.across] == gone
    monkeypatch.setattr(surveys, "_RUN_BYTES", 1)  # each row group by itself
    assert _count(recipe, sources, schema, rng) == counted


def test_dedup_by_content_compares_all_columns_but_where_a_row_is_from(mixed):
    """Rows of two sources are equal although the mix says which source they are from; one that differs anywhere stays."""
    one = pa.table({"a": [1, 1, 2], "b": [[0.0], [-0.0], None]})
    other = pa.table({"a": pa.array([2, 1, 2], pa.int8()), "b": [None, [0.0], [None]]})
    recipe, sources, schema = mixed([[one], [other]], "dedup_by: content", "source_row_column: row")
    first, second = _count(recipe, sources, schema)
    assert (first.rows, first.selection.within, first.selection.across) == (2, 1, 0)
    assert (second.rows, second.selection.within, second.selection.across) == (1, 0, 2)
    assert second.selection.mask(0, 0).to_pylist() == [False, False, True]


def test_a_condition_is_counted_by_row_group(mixed):
    """Rows where it is null are not kept; a condition without columns, and row groups without rows, are counted too."""
    rows = pa.table({"a": [1, None, 3, 4, 5, 6, 7]})
    for where, kept in (("a > 3", (0, 1, 2, 1)), ("1 = 1", (2, 2, 2, 1)), ("a > 9", (0, 0, 0, 0))):
        recipe, sources, schema = mixed([[rows, rows.slice(0, 0)]], each=[f"where: {where}"], row_group_size=2)
        assert not sources[0].exact
        (source,) = _count(recipe, sources, schema)
        assert source.exact
        assert source.files[0].kept == kept
        assert sum(source.files[1].kept) == 0


def test_what_follows_from_footers_is_not_counted(mixed):
    """Without conditions there is nothing to read; of a source without one, beside one that has it, neither."""
    recipe, sources, schema = mixed([[pa.table({"a": [1]})]])
    assert plan_survey(recipe, sources, schema).runs() == []
    assert _count(recipe, sources, schema) == sources


def test_a_function_sees_whole_row_groups(mixed, tmp_path, monkeypatch):
    """What it makes of a row group may be more rows or fewer; masks count the rows that come out."""
    (tmp_path / "twice.py").write_text(
        textwrap.dedent(
            """
            import pyarrow as pa

            def twice(rows):
                return pa.record_batch({"n": pa.concat_arrays([rows["n"], rows["n"]])})
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    rows = pa.table({"n": [1, 2, 3, 4, 5, 6]})
    recipe, sources, schema = mixed([[rows]], each=["map: twice:twice"], row_group_size=4)
    (source,) = _count(recipe, sources, schema)
    assert source.files[0].kept == (8, 4)
    recipe, sources, schema = mixed([[rows]], "dedup_by: [n]", each=["map: twice:twice"], row_group_size=4)
    (source,) = _count(recipe, sources, schema)
    assert source.files[0].kept == (4, 2)
    assert source.selection.mask(0, 0).to_pylist() == [True] * 4 + [False] * 4
    assert _numbers(source) == [[[1, 2, 3, 4], [5, 6]]]


def test_only_the_columns_that_it_takes_are_read(mixed):
    """Those of the condition; and those that rows are compared by."""
    recipe, sources, schema = mixed([[pa.table({"a": [1], "b": [2], "c": [3]})]], each=["where: a > 0"])
    assert plan_survey(recipe, sources, schema).sources[0].columns_in(0) == ["a"]
    recipe, sources, schema = mixed(
        [[pa.table({"a": [1], "b": [2], "c": [3]})]], "dedup_by: [b]", each=["where: a > 0"]
    )
    assert plan_survey(recipe, sources, schema).sources[0].columns_in(0) == ["a", "b"]


def test_what_is_missing_leaves_upper_bounds(mixed):
    """A source of which a run is missing says so, and the others do not; when rows are compared, all do."""
    tables = [[pa.table({"a": [1, 2, 3]})], [pa.table({"a": [1, 2, 3]})]]
    recipe, sources, schema = mixed(tables, each=["where: a > 1"])
    survey = plan_survey(recipe, sources, schema)
    first, second = survey.runs()
    found = {second: survey_run(survey, second, None)}
    assert [(one.rows, one.exact) for one in conclude(survey, sources, found)] == [(3, False), (2, True)]
    recipe, sources, schema = mixed(tables, "dedup_by: [a]", each=["where: a > 1"])
    survey = plan_survey(recipe, sources, schema)
    found = {first: survey_run(survey, first, None)}
    assert [(one.rows, one.exact) for one in conclude(survey, sources, found)] == [(2, False), (3, False)]


def test_large_values_that_are_not_read_make_no_runs(mixed, monkeypatch):
    """Runs are cut by the bytes of what is compared, not of the images beside it."""
    monkeypatch.setattr(surveys, "_RUN_BYTES", 1 << 16)
    table = pa.table({"t": ["x"] * 10, "b": [random.Random(0).randbytes(1 << 16)] * 10})
    for by, runs in (("t", 1), ("b", 10)):
        recipe, sources, schema = mixed([[table]], f"dedup_by: [{by}]", row_group_size=1)
        assert len(plan_survey(recipe, sources, schema).runs()) == runs


def test_rows_can_be_compared_by_what_reads_no_column(mixed):
    """By a constant, all rows are the same."""
    columns = """columns: {a: a, k: "'x'"}"""
    recipe, sources, schema = mixed([[pa.table({"a": [1, 2, 3]})]], "dedup_by: [k]", each=[columns], row_group_size=2)
    assert _count(recipe, sources, schema)[0].files[0].kept == (1, 0)


@pytest.mark.parametrize(
    ("by", "tables", "message"),
    [
        (
            "absent",
            [{"a": [1]}],
            r"mix.yaml:2:\d+: the sources have no column 'absent' to compare rows by; expected some of a",
        ),
        ("source", [{"a": [1]}], r"mix.yaml:2:\d+: the sources have no column 'source' to compare rows by"),
        ("b", [{"a": [1]}, {"b": [1]}], r"mix.yaml:2:\d+: source 's0' has none of the columns b"),
    ],
)
def test_columns_to_compare_by_must_be_there(mixed, by, tables, message):
    """In the mix, and at least one of them in each source: otherwise all of its rows would be one."""
    recipe, sources, schema = mixed([[pa.table(table)] for table in tables], f"dedup_by: [{by}]")
    with pytest.raises(RecipeError, match=message):
        plan_survey(recipe, sources, schema)


def test_a_file_that_changed_is_not_counted(mixed, tmp_path):
    """It would be counted as something that it is not."""
    recipe, sources, schema = mixed([[pa.table({"a": [1, 2, 3]})]], each=["where: a > 1"])
    pq.write_table(pa.table({"a": [3, 2, 0]}), tmp_path / "s0" / "0.parquet")
    with pytest.raises(CorruptFileError, match=r"0\.parquet"):
        _count(recipe, sources, schema)
