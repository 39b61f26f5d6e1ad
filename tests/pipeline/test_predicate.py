"""What SQL text means over Arrow data, and how it is refused."""

import datetime
import decimal
import pickle
import subprocess
import sys
import textwrap
from functools import cache

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import RecipeError, SchemaError
from pipeline.predicate import filter_batch, parse_expression, parse_predicate, project

UTC = datetime.UTC
ROWS = pa.record_batch(
    {
        "i": pa.array([1, None, -7, 0]),
        "i8": pa.array([100, 1, None, 2], pa.int8()),
        "u": pa.array([2**64 - 1, 1, 2, None], pa.uint64()),
        "big": pa.array([2**62 + 1, 2**53 + 1, -1, 0]),
        "f": pa.array([0.5, -0.0, float("nan"), None]),
        "f32": pa.array([0.1, 16777216.0, None, 2.5], pa.float32()),
        "dec": pa.array(
            [decimal.Decimal("1.25"), None, decimal.Decimal(-3), decimal.Decimal("0.10")], pa.decimal128(9, 2)
        ),
        "b": pa.array([True, False, None, True]),
        "s": ["Élan\nx", None, "a%_\\b", "  pad "],
        "ls": pa.array(["x", None, "y", "z"], pa.large_string()),
        "d": pa.array(["x", None, "y", "x"]).dictionary_encode(),
        "v": pa.array(["x", None, "yy", "z"], pa.string_view()),
        "bin": pa.array([b"\xff\x00", None, b"ab", b""]),
        "day": pa.array([datetime.date(2026, 1, 31), None, datetime.date(1969, 12, 31), datetime.date(2026, 2, 1)]),
        "at": pa.array([1, None, -1, 1_767_225_600_000_000_000], pa.timestamp("ns")),
        "atz": pa.array([0, None, -1, 1_767_225_600], pa.timestamp("s", "UTC")),
        "l": pa.array([[1, 2], None, [], [None]]),
        "ll": pa.array([[1, 2], None, [], [None]], pa.large_list(pa.int8())),
        "st": pa.StructArray.from_arrays(
            [pa.array([1, 2, None, 4]), pa.array([{"x y": "p"}, {"x y": "q"}, {"x y": None}, None])],
            names=["k", "deep"],
            mask=pa.array([False, True, False, False]),
        ),
        "a.b c": pa.array([1, 2, 3, None]),
        "n": pa.nulls(4),
    }
)

VALUES = [
    # comparisons, three-valued
    ("i = 1", [True, None, False, False]),
    ("i <> 1", [False, None, True, True]),
    ("1 < i", [False, None, False, False]),
    ("i <=> 1", [True, False, False, False]),
    ("i <=> null", [False, True, False, False]),
    ("i is distinct from null", [True, False, True, True]),
    ("i = null", [None] * 4),
    ("null = null", [None] * 4),
    ("null <=> null", [True] * 4),
    ("n is null and n <=> null", [True] * 4),
    ("b and null", [None, False, None, None]),
    ("b or null", [True, None, None, True]),
    ("not b", [False, True, None, False]),
    ("b is true", [True, False, False, True]),
    ("b is not false", [True, False, True, True]),
    ("b is unknown", [False, False, True, False]),
    ("i is null or b", [True, True, None, True]),
    # numbers of different types meet without losing digits
    ("big > 4611686018427387904.5", [False, False, False, False]),
    ("big = 4611686018427387905", [True, False, False, False]),
    ("u > -1", [True, True, True, None]),
    ("u = 18446744073709551615", [True, False, False, None]),
    ("u < i", [False, None, False, None]),
    ("i8 > 1000", [False, False, None, False]),
    ("f32 > 16777216.5", [False, False, None, False]),
    ("f32 = 0.1", [False, False, None, False]),
    ("f32 = 2.5", [False, False, None, True]),
    ("dec = 1", [False, None, False, False]),
    ("dec >= 1.25", [True, None, False, False]),
    ("dec > i", [True, None, True, True]),
    ("i > -9223372036854775808", [True, None, True, True]),
    # in, between
    ("i in (1, -7)", [True, None, True, False]),
    ("i in (1, null)", [True, None, None, None]),
    ("i not in (1, null)", [False, None, None, None]),
    ("i in (1.5, 1.0, 1e300)", [True, None, False, False]),
    ("i8 in (100, 100000)", [True, False, None, False]),
    ("f in (0)", [False, True, False, None]),
    ("f in (-0.0)", [False, True, False, None]),
    ("f32 in (0.1)", [False, False, None, False]),
    ("n in (1)", [None] * 4),
    ("d in ('x')", [True, None, False, True]),
    ("ls in ('x', 'q')", [True, None, False, False]),
    ("bin in ('ab')", [False, None, True, False]),
    ("b in (true)", [True, False, None, True]),
    ("day in ('2026-01-31', DATE '2026-02-01')", [True, None, False, True]),
    ("dec in (1.25, 0.1, 7)", [True, None, False, True]),
    ("null in (1)", [None] * 4),
    ("i between -7 and 0", [False, None, True, True]),
    ("i not between -7 and 0.5", [True, None, False, False]),
    # like
    (r"s like '%\%\_\\%'", [False, None, True, False]),
    ("s like 'a!%!_%' escape '!'", [False, None, True, False]),
    ("s not like 'a!%!_%' escape '!'", [True, None, False, True]),
    ("s like '_lan%'", [True, None, False, False]),
    ("s like 'Élan_x'", [True, None, False, False]),
    ("s ilike 'élAN%'", [True, None, False, False]),
    ("s not ilike 'élAN%'", [False, None, True, True]),
    ("not s not like 'É%'", [True, None, False, False]),
    ("d like 'x'", [True, None, False, True]),
    ("v like 'y%'", [False, None, True, False]),
    ("ls like 'x%'", [True, None, False, False]),
    ("s rlike '[a-z]$'", [True, None, True, False]),
    ("s not rlike '[a-z]$'", [False, None, False, True]),
    # arithmetic
    ("i + 1", [2, None, -6, 1]),
    ("i8 * i8 + 1", [10001, 2, None, 5]),
    ("-i8 - 100", [-200, -101, None, -102]),
    ("i / 2", [0.5, None, -3.5, 0.0]),
    ("1 / i", [1.0, None, -1 / 7, None]),
    ("i % 2", [1, None, -1, 0]),
    ("7 % i", [0, None, 0, None]),
    ("big / 2.0", [float(2**61), 2.0**52, -0.5, 0.0]),
    ("2 + 3 * 4 - -1", [15] * 4),
    ("(2 + 3) * 4", [20] * 4),
    ("u % 10", [5, 1, 2, None]),
    ("dec + 1", [decimal.Decimal("2.25"), None, decimal.Decimal("-2.00"), decimal.Decimal("1.10")]),
    ("dec % 1", [0.25, None, -0.0, 0.1]),
    ("dec / 2", [0.625, None, -1.5, 0.05]),
    ("i + null", [None] * 4),
    ("abs(i)", [1, None, 7, 0]),
    ("round(2.5) + round(-2.5) + round(0.25, 1)", [0.3] * 4),
    ("round(i, -1)", [0, None, -10, 0]),
    ("floor(dec) + ceil(dec)", [decimal.Decimal(3), None, decimal.Decimal(-6), decimal.Decimal(1)]),
    ("floor(big) + ceiling(0.5)", [2.0**62, 2.0**53 + 2, 0.0, 1.0]),
    ("floor(big)", [2**62 + 1, 2**53 + 1, -1, 0]),
    # text
    ("length(s)", [6, None, 5, 6]),
    ("length(bin)", [2, None, 2, 0]),
    ("length(d) + length(v) + length(ls)", [3, None, 4, 3]),
    ("lower(s)", ["élan\nx", None, "a%_\\b", "  pad "]),
    ("upper(ls)", ["X", None, "Y", "Z"]),
    ("trim(s)", ["Élan\nx", None, "a%_\\b", "pad"]),
    ("ltrim(s) || rtrim(s)", ["Élan\nxÉlan\nx", None, "a%_\\ba%_\\b", "pad   pad"]),
    ("s || '-' || d", ["Élan\nx-x", None, "a%_\\b-y", "  pad -x"]),
    ("ls || s", ["xÉlan\nx", None, "ya%_\\b", "z  pad "]),
    ("concat(d, null)", [None] * 4),
    ("concat('it''s', \"d\")", ["it'sx", None, "it'sy", "it'sx"]),
    ("substring(s, 1, 2)", ["Él", None, "a%", "  "]),
    ("substring(s, 0, 2)", ["Él", None, "a%", "  "]),
    ("substr(s, -2)", ["\nx", None, "\\b", "d "]),
    ("substring(s, -2, 1)", ["\n", None, "\\", "d"]),
    ("substring(s, -2, 9)", ["\nx", None, "\\b", "d "]),
    ("substring(s, 2, 0)", ["", None, "", ""]),
    ("substring(s, 99)", ["", None, "", ""]),
    ("starts_with(s, 'É') and startswith(s, 'É')", [True, None, False, False]),
    ("ends_with(s, 'x') or endswith(s, 'b')", [True, None, True, False]),
    ("contains(s, '%')", [False, None, True, False]),
    ("contains(bin, 'b')", [False, None, True, False]),
    ("regexp_like(s, '(?i)ÉL')", [True, None, False, False]),
    (r"replace(s, '%', '\1')", ["Élan\nx", None, r"a\1_\b", "  pad "]),
    (r"regexp_replace(s, '(a)(.)', '\2\1')", ["Élna\nx", None, "%a_\\b", "  pda "]),
    # choices
    ("coalesce(i, 9)", [1, 9, -7, 0]),
    ("coalesce(i, 9.5)", [1.0, 9.5, -7.0, 0.0]),
    ("coalesce(d, 'none')", ["x", "none", "y", "x"]),
    ("if(b, 'yes', 'no')", ["yes", "no", "no", "yes"]),
    ("ifnull(d, 'none') || nvl(ls, '')", ["xx", "none", "yy", "xz"]),
    ("nullif(i, 0)", [1, None, -7, None]),
    ("nullif(d, 'x')", [None, None, "y", None]),
    ("nullif(i, null)", [1, None, -7, 0]),
    ("least(i, 0.5) + greatest(i, i8)", [100.5, 1.5, -14.0, 2.0]),
    ("case when i > 0 then 1 when i < 0 then -1.5 end", [1.0, None, -1.5, None]),
    ("case d when 'x' then 10 else i end", [10, None, -7, 10]),
    ("case when i = 0 then null else 10 / i end", [10.0, None, -10 / 7, None]),
    # lists, structs, names
    ("size(l) + array_length(ll) + cardinality(l)", [6, None, 0, 3]),
    ("element_at(l, 1)", [1, None, None, None]),
    ("element_at(ll, 2)", [2, None, None, None]),
    ("named_struct('a', i, 'b', null)", [{"a": i, "b": None} for i in (1, None, -7, 0)]),
    ("st.k", [1, None, None, 4]),
    ('st."deep".`x y`', ["p", None, None, None]),
    ("st is null", [False, True, False, False]),
    ('"a.b c"', [1, 2, 3, None]),
    # casts and times
    ("cast(2.7 as int)", [2] * 4),
    ("cast(-2.7 as bigint)", [-2] * 4),
    ("i::string", ["1", None, "-7", "0"]),
    ("'12'::int + 1", [13] * 4),
    ("cast(dec as int)", [1, None, -3, 0]),
    ("cast('1.239' as decimal(4, 3))", [decimal.Decimal("1.239")] * 4),
    ("cast(i as double) / 4", [0.25, None, -1.75, 0.0]),
    ("day > DATE '2026-01-31'", [False, None, False, True]),
    ("day >= '2026-01-31'", [True, None, False, True]),
    ("at >= TIMESTAMP '2026-01-01 00:00:00'", [False, None, False, True]),
    ("at > '1970-01-01'", [True, None, False, True]),
    ("atz >= '2026-01-01T00:00:00Z' or atz = TIMESTAMP '1970-01-01 00:00:00'", [True, None, False, True]),
    ("cast(at as date) = DATE '2026-01-01'", [False, None, False, True]),
    ("day < at", [False, None, True, False]),
    ("true", [True] * 4),
]


@pytest.mark.parametrize(("sql", "expected"), VALUES, ids=[sql for sql, _ in VALUES])
def test_an_expression_has_the_values_of_the_documented_table(sql, expected):
    """Each operator and function gives the documented value on every row, nulls included."""
    expression = parse_expression(sql, ROWS.schema)
    got = project(ROWS, {"value": expression}).column(0)
    expected = [pytest.approx(v) if isinstance(v, float) else v for v in expected]
    assert got.to_pylist() == expected
    assert got.type == expression.type


REFUSED = [
    ("xyz(i) = 1", 1, "function 'xyz' is not supported; use one of length"),
    ("i = 1 and lenght(s) > 2", 11, "did you mean 'length'?"),
    ("i > 1 and sx = 'a'", 11, "unknown column 'sx'; did you mean 's'? there are a.b c, at"),
    ("I > 1", 1, "did you mean 'i'?"),
    ("st.kk = 1", 1, "unknown field of struct 'st' 'kk'; did you mean 'k'? there are deep, k"),
    ("i.k = 1", 1, "'i' is int64, not a struct"),
    ("s > 3", 1, "s (string) and 3 (int64) have no common type"),
    ("b and s > 3", 7, "s (string) and 3"),
    ("day > 'soon'", 1, "have no common type"),
    ("i in (1, 'a')", 1, "have no common type"),
    ("i in (1, u)", 1, "IN needs a list of literals such as IN ('a', 'b'), got u"),
    ("i in ()", 1, "got none"),
    ("i in (select 1)", 1, "is not supported"),
    ("i + s", 5, "s (string) must be a number"),
    ("s || i", 6, "write cast(i as string)"),
    ("length(i) > 2", 8, "i (int64) must be text or binary"),
    ("b and i", 7, "i (int64) must be true or false"),
    ("not i", 5, "must be true or false"),
    ("i + 1", 1, "i + 1 (int64) must be true or false"),
    ("l = l", 1, "does not fit its types"),
    ("i = 1 x", 7, "cannot read the SQL at 'x'"),
    ("i =", 3, "something is missing"),
    ("(i = 1", 6, "Expecting )"),
    ("i = 'a", 7, "a quote or comment is not closed"),
    ("", 1, "the expression is empty"),
    ("  -- nothing", 1, "the expression is empty"),
    ("i = 1; b", 6, "more than one expression"),
    ("select 1", 1, "cannot read"),
    ("element_at(i, 1) = 1", 12, "i (int64) must be a list"),
    ("element_at(l, 0) = 1", 15, "the position in element_at must be 1 or more, got 0"),
    ("named_struct('a', 1, 'a', 2) is null", 14, "named_struct gives a name twice; rename one"),
    ("named_struct('a', 1, 'b') is null", 22, "named_struct needs a value for each name"),
    ("count(*) > 1", 1, "function 'count' is not supported"),
    ("size(*) > 1", 6, "* is not supported"),
    ("st.* = 1", 1, "is not supported"),
    ("length(s, s) = 1", 1, "function 'length' got 2 arguments; write length(text)"),
    ("l[0] = 1", 1, "is not supported"),
    ("i = $1", 5, "unknown column '$1'"),
    ("i = ?", 1, "is not supported"),
    ("day > current_date", 7, "unknown column 'current_date'"),
    ("day > now()", 7, "function 'now' is not supported"),
    ("day + interval 1 day > day", 1, "is not supported"),
    ("s like d", 8, "the pattern of LIKE must be a string literal, got d"),
    (r"s like 'a\b'", 8, "must be followed by %, _ or"),
    ("s like 'a!' escape '!'", 8, "must be followed by %, _ or !"),
    ("s like 'a' escape 'xy'", 19, "ESCAPE must be one character"),
    ("contains(s, d)", 13, "must be a string literal, got d"),
    ("s rlike '('", 9, "is not a regular expression"),
    ("substring(s, i) = 'a'", 14, "must be a whole number literal"),
    ("i = 1e400", 5, "too large"),
    ("i = 99999999999999999999999", 5, "does not fit 64 bits"),
    ("i::foo = 1", 1, "type foo is not supported; cast to one of boolean"),
    ("cast(i as timestamp) > at", 6, "its unit is unknown"),
    ("cast(s as varchar(3)) = s", 6, "type VARCHAR(3) is not supported"),
    ("day > DATE 'soon'", 12, "'soon' is not a date32"),
    ("cast(s as date format 'x') = day", 6, "is not supported"),
    ("s collate 'x' = s", 1, "is not supported"),
    ("i = 1 and\n  foo(i) = 2", "line 2, 1-based column 3", "function 'foo' is not supported"),
    ("(" * 3000 + "b" + ")" * 3000, 1, "nested too deeply"),
]


@pytest.mark.parametrize(("sql", "column", "problem"), REFUSED, ids=[sql[:40] for sql, _, _ in REFUSED])
def test_what_is_not_in_the_subset_is_refused_with_its_position(sql, column, problem):
    """A refusal is one line: where, what, and what to do."""
    with pytest.raises(RecipeError) as caught:
        parse_predicate(sql, ROWS.schema)
    message = str(caught.value)
    where = column if isinstance(column, str) else f"1-based column {column}"
    assert message.startswith(f"where: {where}: ")
    assert problem in message
    assert "\n" not in message


def test_an_expression_knows_what_it_reads():
    """Columns are top-level and sorted; a bare column and a constant are told apart from the rest."""
    schema = ROWS.schema
    assert parse_predicate("st.deep.`x y` = d or i > 1", schema).columns == ("d", "i", "st")
    assert parse_predicate("st.k = 1").columns == ("st",)
    assert parse_expression("(d)", schema).source_column == "d"
    assert parse_expression("d", schema).type == schema.field("d").type
    assert parse_expression("st.k", schema).source_column is None
    assert parse_expression("'constant'", schema).columns == ()
    assert parse_expression("length(d)").type is None
    assert parse_expression("1 + 1").type == pa.int64()


def test_without_a_schema_an_expression_still_computes():
    """Only the types are unknown: numbers do not narrow, text functions assume text."""
    sql = "big > 1.5 or f32 / 2 < 4 and length(s) > 3 and coalesce(f, 0.1) + i > 0 and i in (1, 2, null)"
    small = ROWS.slice(1, 2)
    assert filter_batch(small, parse_predicate("f32 % 3 = 1 and not i8 in (5)")).num_rows == 1
    untyped, typed = parse_predicate(sql), parse_predicate(sql, ROWS.schema)
    rows = ROWS.slice(2)
    assert filter_batch(rows, untyped).equals(filter_batch(rows, typed))


def test_a_filter_keeps_true_rows_in_order_for_every_type():
    """The kept rows equal a take of the same rows, for all the types of the table and with none or all kept."""
    for sql, rows in (("b", [0, 3]), ("i is null", [1]), ("false", []), ("true", [0, 1, 2, 3]), ("null", [])):
        kept = filter_batch(ROWS, parse_predicate(sql, ROWS.schema))
        assert kept.schema.equals(ROWS.schema, check_metadata=True)
        assert str(kept.to_pylist()) == str([ROWS.slice(row, 1).to_pylist()[0] for row in rows])
    empty = ROWS.slice(0, 0)
    assert filter_batch(empty, parse_predicate("i > 0", ROWS.schema)).num_rows == 0


def test_projection_keeps_columns_as_they_are_and_rows_in_order():
    """Bare columns keep field metadata and type; computed ones follow; tables keep order across chunks and zero rows."""
    field = pa.field("l", pa.list_(pa.struct([("a", pa.int8())])), nullable=False, metadata={"k": "v"})
    schema = pa.schema([field, pa.field("x", pa.int64())], metadata={"whole": "table"})
    table = pa.Table.from_arrays(
        [pa.chunked_array([[[{"a": 1}]], [[], [{"a": 2}, None]]], field.type), pa.chunked_array([[1, 2], [3]])],
        schema=schema,
    )
    wanted = {name: parse_expression(sql, schema) for name, sql in {"y": "x * 2", "m": "l", "one": "'c'"}.items()}
    got = project(table, wanted)
    assert got.to_pydict() == {"y": [2, 4, 6], "m": [[{"a": 1}], [], [{"a": 2}, None]], "one": ["c"] * 3}
    assert got.schema.field("m").equals(field.with_name("m"), check_metadata=True)
    assert project(table.slice(0, 0), wanted).num_rows == 0
    batch = pa.RecordBatch.from_arrays([c.combine_chunks() for c in table.columns], schema=schema)
    assert project(batch, wanted).to_pydict() == got.to_pydict()
    assert project(batch.slice(0, 0), wanted).num_rows == 0
    large = pa.table({"x": pa.array(range(2_500_000))})
    doubled = project(large, {"y": parse_expression("x * 2", large.schema)})
    assert doubled.column("y").combine_chunks().equals(pa.array(range(0, 5_000_000, 2)))


def test_a_value_that_cannot_be_computed_is_one_line():
    """An overflow or a failing cast names the expression; a missing column names those that exist."""
    schema = ROWS.schema
    with pytest.raises(RecipeError, match=r"'big \* big > 0' cannot be computed: overflow"):
        filter_batch(ROWS, parse_predicate("big * big > 0", schema))
    with pytest.raises(RecipeError, match="cannot be computed: Failed to parse string"):
        project(ROWS, {"x": parse_expression("cast(s as int)", schema)})
    with pytest.raises(RecipeError, match="cannot be computed"):
        project(ROWS, {"x": parse_expression("cast(f as int)", schema)})
    with pytest.raises(RecipeError, match=r"'i [+] 1' must be true or false, got int64"):
        filter_batch(ROWS, parse_predicate("i + 1"))
    with pytest.raises(SchemaError, match="column 'zz' of 'zz > 1' is there 0 times, expected once; the columns are i"):
        filter_batch(ROWS, parse_predicate("zz > 1"))
    with pytest.raises(SchemaError, match="column 'zz'"):
        project(ROWS, {"x": parse_expression("zz")})


def test_long_chains_do_not_nest():
    """Thousands of OR operands and IN values are read and computed."""
    chain = " or ".join(f"i = {n}" for n in range(500))
    assert filter_batch(ROWS, parse_predicate(chain, ROWS.schema)).num_rows == 2
    values = ", ".join(str(n) for n in range(20_000))
    assert filter_batch(ROWS, parse_predicate(f"i in ({values})", ROWS.schema)).num_rows == 2


def test_a_parsed_predicate_pickles_to_where_sqlglot_is_missing(tmp_path):
    """An executor with only pyarrow can load and apply it."""
    schema = ROWS.schema
    sql = [sql for sql, expected in VALUES if {type(v) for v in expected} & {bool}]
    payload = [parse_predicate(s, schema) for s in sql] + [parse_predicate("length(s) > 2")]
    expressions = {str(n): parse_expression(s, schema) for n, (s, _) in enumerate(VALUES)}
    sink = tmp_path / "payload"
    sink.write_bytes(pickle.dumps((ROWS, payload, expressions)))
    program = """
        import pickle, sys
        sys.modules["sqlglot"] = None
        from pipeline.predicate import filter_batch, project
        rows, predicates, expressions = pickle.loads(open(sys.argv[1], "rb").read())
        print([filter_batch(rows, p).num_rows for p in predicates], project(rows, expressions).num_columns)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program), str(sink)], capture_output=True, text=True)
    assert done.stdout.strip() == f"{[filter_batch(ROWS, p).num_rows for p in payload]} {len(expressions)}", done.stderr


NAMES = {"number": ["a", "b", "c"], "text": ["s", "t"]}
NUMBER = st.deferred(
    lambda: (
        st.sampled_from(NAMES["number"])
        | st.integers(-3, 3).map(lambda n: f"({n})")
        | st.sampled_from(["0.5", "(-1.5)", "null::int"])
        | st.tuples(NUMBER, st.sampled_from(["+", "-", "*", "/", "%"]), NUMBER).map(lambda x: f"({x[0]} {x[1]} {x[2]})")
        | NUMBER.map(lambda x: f"abs({x})")
        | TEXT.map(lambda x: f"length({x})")
        | st.tuples(CONDITION, NUMBER, NUMBER).map(lambda x: f"(case when {x[0]} then {x[1]} else {x[2]} end)")
        | st.tuples(NUMBER, NUMBER).map(lambda x: f"coalesce({x[0]}, {x[1]})")
    )
)
LITERAL = st.text("aB%_é\\x", max_size=4).map(lambda s: f"'{s}'")
PATTERN = st.lists(st.sampled_from(["a", "B", "é", "%", "_", "!%", "!_", "!!", "x", "\\"]), max_size=4).map(
    lambda parts: f"'{''.join(parts)}'"
)
TEXT = st.deferred(
    lambda: (
        st.sampled_from(NAMES["text"])
        | LITERAL
        | st.tuples(st.sampled_from(["lower", "upper", "trim"]), TEXT).map(lambda x: f"{x[0]}({x[1]})")
        | st.tuples(TEXT, TEXT).map(lambda x: f"({x[0]} || {x[1]})")
        | st.tuples(TEXT, st.integers(1, 3), st.integers(0, 3)).map(lambda x: f"substring({x[0]}, {x[1]}, {x[2]})")
    )
)
COMPARE = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])
CONDITION = st.deferred(
    lambda: (
        st.tuples(NUMBER, COMPARE, NUMBER).map(" ".join).map("({})".format)
        | st.tuples(TEXT, COMPARE, TEXT).map(" ".join).map("({})".format)
        | st.tuples(CONDITION, st.sampled_from(["and", "or"]), CONDITION).map(" ".join).map("({})".format)
        | CONDITION.map(lambda x: f"(not {x})")
        | st.tuples(NUMBER | TEXT, st.sampled_from(["is null", "is not null"])).map(" ".join).map("({})".format)
        | st.tuples(
            NUMBER,
            st.sampled_from(["", "not "]),
            st.lists(st.sampled_from(["1", "-2", "0", "0.5", "null"]), min_size=1),
        ).map(lambda x: f"({x[0]} {x[1]}in ({', '.join(x[2])}))")
        | st.tuples(NUMBER, st.sampled_from(["", "not "]), NUMBER, NUMBER).map(
            lambda x: f"({x[0]} {x[1]}between {x[2]} and {x[3]})"
        )
        | st.tuples(TEXT, st.sampled_from(["", "not "]), st.sampled_from(["like", "ilike"]), PATTERN).map(
            lambda x: f"({x[0]} {x[1]}{x[2]} {x[3]} escape '!')"
        )
        | st.tuples(st.sampled_from(["starts_with", "ends_with", "contains"]), TEXT, LITERAL).map(
            lambda x: f"{x[0]}({x[1]}, {x[2]})"
        )
        | st.tuples(CONDITION, st.sampled_from(["is true", "is not false"])).map(lambda x: f"({x[0]} {x[1]})")
    )
)
CELLS = {
    "a": st.none() | st.integers(-3, 3),
    "b": st.none() | st.integers(-3, 3),
    "c": st.none() | st.sampled_from([-1.5, 0.0, 0.5, 2.0]),
    "s": st.none() | st.text("aB%_é\\x ", max_size=4),
    "t": st.none() | st.text("aB%_é\\x ", max_size=4),
}
TYPES = pa.schema(
    [("a", pa.int64()), ("b", pa.int8()), ("c", pa.float64()), ("s", pa.string()), ("t", pa.large_string())]
)


@cache
def _engine():
    engine = duckdb.connect(config={"threads": 1})
    return engine.execute("set error_on_division_by_zero = false; set ieee_floating_point_ops = false")


@settings(max_examples=300, deadline=None)
@given(sql=CONDITION, rows=st.lists(st.fixed_dictionaries(CELLS), max_size=6))
def test_a_filter_keeps_the_rows_that_duckdb_keeps(sql, rows):
    """Three-valued logic, arithmetic, LIKE and the rest agree with another engine on random data and predicates."""
    table = pa.Table.from_pylist(
        [{"row": n, **row} for n, row in enumerate(rows)], schema=TYPES.insert(0, pa.field("row", pa.int64()))
    )
    batch = pa.RecordBatch.from_arrays([c.combine_chunks() for c in table.columns], schema=table.schema)
    kept = filter_batch(batch, parse_predicate(sql, batch.schema)).column("row").to_pylist()
    engine = _engine()
    engine.register("rows", table)
    expected = engine.execute(f"select row from rows where {sql} order by row").fetchall()
    assert kept == [row for (row,) in expected]


@settings(max_examples=500, deadline=None)
@given(st.text(max_size=30) | st.text("ab(),'\"`=<>+-*/%.;:[]{}|!~ 01\n", max_size=15))
def test_any_text_is_read_or_refused_in_one_line(sql):
    """Nothing but `RecipeError` comes out of the parser."""
    for schema in (None, ROWS.schema):
        try:
            parse_expression(sql, schema)
        except RecipeError as err:
            message = str(err)
        else:
            continue
        assert message.startswith("expression: ")
        assert len(message.splitlines()) == 1


def test_a_long_value_does_not_fill_the_message():
    """A cast that fails on a long text says so in one short line."""
    rows = pa.record_batch({"text": ["word " * 10_000]})
    with pytest.raises(RecipeError, match="cannot be computed") as caught:
        filter_batch(rows, parse_predicate("cast(text as int) > 2", rows.schema))
    assert len(str(caught.value)) < 400
