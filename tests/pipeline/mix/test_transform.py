"""What a recipe makes of a source's rows, against the same said in Python."""

import pickle

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import RecipeError
from pipeline.mix.recipe import Source, parse_recipe
from pipeline.mix.transform import bind

SCHEMA = pa.schema(
    [
        pa.field("id", pa.int32(), nullable=False),
        pa.field("text", pa.string()),
        pa.field("meta", pa.struct([("lang-x", pa.string()), ("n", pa.int8())])),
        pa.field("tags", pa.list_(pa.int32())),
        pa.field("a.b", pa.float64()),
    ]
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.integers(-9, 9),
            "text": st.none() | st.text("aB ", max_size=4),
            "meta": st.none() | st.fixed_dictionaries({"lang-x": st.none() | st.just("en"), "n": st.integers(-9, 9)}),
            "tags": st.none() | st.lists(st.integers(0, 9), max_size=2),
            "a.b": st.none() | st.floats(-1e9, 1e9),
        }
    ),
    max_size=8,
)


def _bind(schema=SCHEMA, **keys):
    declared = keys.pop("declared", None)
    source = Source(name="s", dataset="ns/s", **keys)
    return bind(source, schema, where_is=lambda key: f"mix.yaml:1:1 {key}", declared=declared)


def _batch(rows):
    return pa.RecordBatch.from_pylist(rows, SCHEMA)


def _n(row):
    return None if row["meta"] is None else row["meta"]["n"]


# What may stand for a mix column, and what it is for a row.
MADE_OF = {
    "text": lambda row: row["text"],
    "a.b": lambda row: row["a.b"],
    "meta.n": _n,
    "meta.lang-x": lambda row: None if row["meta"] is None else row["meta"]["lang-x"],
    "meta": lambda row: row["meta"],
    "'it''s'": lambda _: "it's",
    "-1": lambda _: -1,
    "null": lambda _: None,
    "id + 1": lambda row: row["id"] + 1,
    "upper(text)": lambda row: None if row["text"] is None else row["text"].upper(),
    "case when meta.n > 0 then 'more' else 'less' end": lambda row: "more" if (_n(row) or 0) > 0 else "less",
    "coalesce(text, '-')": lambda row: "-" if row["text"] is None else row["text"],
    "cast(id as string)": lambda row: str(row["id"]),
}
CONDITIONS = {
    None: lambda _: True,
    "id > 0": lambda row: row["id"] > 0,
    "text is not null and meta.n <> 3": lambda row: row["text"] is not None and _n(row) not in (None, 3),
}


@settings(deadline=None, max_examples=150)
@given(ROWS, st.dictionaries(st.sampled_from("pqr"), st.sampled_from(sorted(MADE_OF)), min_size=1), st.data())
def test_columns_and_conditions_are_what_python_makes_of_them(rows, columns, data):
    """Renamed, nested, constant and computed columns of the rows that a condition keeps, in order, as their schema says."""
    where = data.draw(st.sampled_from(list(CONDITIONS)))
    transform = pickle.loads(pickle.dumps(_bind(columns=tuple(columns.items()), where=where)))
    read = _batch(rows).select(transform.read_schema.names)
    made = transform.apply(read)
    kept = [row for row in rows if CONDITIONS[where](row)]
    assert made.to_pylist() == [{name: MADE_OF[sql](row) for name, sql in columns.items()} for row in kept]
    assert made.schema.equals(transform.schema)
    made.validate(full=True)
    for name in made.schema.names:
        assert made.schema.field(name).nullable or not made.column(name).null_count
    assert transform.changes_rows == (where is not None)


PLAIN = {"text", "a.b", "meta"}
CONSTANT = {"'it''s'", "-1", "null"}


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.sampled_from("pqr"), st.sampled_from(sorted(MADE_OF)), min_size=1))
def test_row_groups_can_be_copied_when_columns_only_move(columns):
    """`kept` and `constants` together are all columns, or `kept` is None because one is computed."""
    transform = _bind(columns=tuple(columns.items()))
    if set(columns.values()) <= PLAIN | CONSTANT:
        assert transform.kept == {name: sql for name, sql in columns.items() if sql in PLAIN}
    else:
        assert transform.kept is None
    wanted = {name: MADE_OF[sql]({}) for name, sql in columns.items() if sql in CONSTANT}
    assert {name: value.as_py() for name, value in transform.constants.items()} == wanted


def test_a_source_without_columns_is_kept_whole():
    """No `columns`: every column as it is, required where it is required."""
    transform = _bind()
    assert transform.schema.equals(SCHEMA)
    assert transform.kept == {name: name for name in SCHEMA.names}
    assert transform.read_schema.equals(SCHEMA)


def test_a_star_is_all_other_columns():
    """Where it stands, without those that have another name by now."""
    assert _bind(columns=(("caption", "text"), ("*", "*"), ("k", "1"))).schema.names == [
        "caption",
        "id",
        "meta",
        "tags",
        "a.b",
        "k",
    ]
    assert _bind(columns=(("tags", "tags"), ("*", "*"))).schema.names == ["tags", "id", "text", "meta", "a.b"]


def test_map_computes_from_the_columns_and_cast_comes_last():
    """A map expression sees the mix's columns by their new names, all as `columns` left them; what it reads are the source's."""
    transform = _bind(
        columns=(("caption", "upper(text)"), ("m", "meta"), ("text", "'x'")),
        map=(("caption", "trim(caption)"), ("both", "caption || text"), ("n", "m.n + 1"), ("again", "m")),
        cast=(("n", "string"),),
    )
    assert transform.read_schema.names == ["text", "meta"]
    rows = [{"id": 1, "text": " a", "meta": {"lang-x": "en", "n": 4}, "tags": None, "a.b": 0.5}]
    assert transform.apply(_batch(rows).select(["text", "meta"])).to_pylist() == [
        {
            "caption": "A",
            "m": {"lang-x": "en", "n": 4},
            "text": "x",
            "both": " Ax",
            "n": "5",
            "again": {"lang-x": "en", "n": 4},
        }
    ]
    assert _bind(columns=(("a", "text"),), map=(("b", "a"),)).kept == {"a": "text", "b": "text"}


def test_a_cast_to_the_type_that_is_there_changes_nothing():
    """Then row groups can still be copied; any other cast is computed, lists by their elements."""
    assert _bind(cast=(("id", "int"), ("text", "string"), ("tags", "list<int32>"))).kept is not None
    transform = _bind(columns=(("tags", "tags"), ("id", "id")), cast=(("tags", "array<bigint>"), ("id", "double")))
    assert transform.kept is None
    assert transform.schema.field("tags").type == pa.list_(pa.field("element", pa.int64()))
    made = transform.apply(pa.RecordBatch.from_pylist([{"id": 3, "tags": [1, None]}], transform.read_schema))
    assert made.to_pylist() == [{"tags": [1, None], "id": 3.0}]


def test_a_value_that_a_cast_cannot_hold_stops_the_run():
    """One line that names the column, no wrapped number."""
    transform = _bind(columns=(("x", "id * 100"),), cast=(("x", "tinyint"),))
    with pytest.raises(RecipeError, match=r"'id \* 100' cannot be computed: .*300"):
        transform.apply(pa.RecordBatch.from_pylist([{"id": 3}], transform.read_schema))


def test_only_what_is_needed_is_read():
    """The columns of the expressions and of the condition; of constants alone, the narrowest one, for the number of rows."""
    assert _bind(columns=(("t", "upper(text)"),), where="meta.n > 1").read_schema.names == ["text", "meta"]
    constant = _bind(columns=(("k", "1"),))
    assert not constant.schema.field("k").nullable
    assert constant.read_schema.names == ["id"]
    assert constant.apply(_batch([{"id": 1}] * 3).select(["id"])).to_pylist() == [{"k": 1}] * 3
    assert _bind(declared=["text", "id"]).read_schema.names == ["id", "text"]
    assert _bind(declared=["text", "id"], where="meta.n > 1").schema.names == ["id", "text"]


def test_the_fingerprint_names_all_that_decides_the_rows():
    """Each key of the recipe that changes what comes out changes it, and so does a type that is read; a name does not."""
    kinds = pa.schema([("id", pa.int64()), *list(SCHEMA)[1:]])
    prints = [
        _bind(),
        _bind(where="id > 1"),
        _bind(where="id > 2"),
        _bind(columns=(("id", "id"),)),
        _bind(columns=(("id", "id"),), map=(("id", "id + 1"),)),
        _bind(columns=(("id", "id"),), cast=(("id", "bigint"),)),
        _bind(kinds),
    ]
    assert len({transform.fingerprint for transform in prints}) == len(prints)
    assert _bind(where="id > 1").fingerprint == _bind(where="id > 1", take=5, weight=None).fingerprint


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"where": "idd > 1"}, "where: source 's', where: 1-based column 1: unknown column 'idd'; did you mean 'id'?"),
        ({"where": "id"}, "where: source 's', where: 1-based column 1: id (int32) must be true or false"),
        ({"columns": (("t", "en"),)}, "columns.t: source 's', column 't': 1-based column 1: unknown column 'en'; "),
        (
            {"columns": (("t", "meta.m"),)},
            "columns.t: source 's', column 't': 1-based column 1: unknown field of struct",
        ),
        (
            {"columns": (("t", "upper(id)"),)},
            "columns.t: source 's', column 't': 1-based column 7: id (int32) must be a",
        ),
        ({"map": (("t", "foo"),)}, "map.t: source 's', column 't': 1-based column 1: unknown column 'foo'; there are"),
        ({"cast": (("txt", "int"),)}, "cast.txt: source 's', column 'txt' is not there to cast; did you mean 'text'?"),
        (
            {"cast": (("tags", "int"),)},
            "cast.tags: source 's', column 'tags': 1-based column 1: tags (list<item: int32>)",
        ),
        (
            {"cast": (("id", "date"),)},
            "cast.id: source 's', column 'id': 1-based column 1: id (int32) cannot become date",
        ),
        ({"declared": ["label"]}, "columns: source 's' has none of the columns that the mix declares (label)"),
    ],
)
def test_what_does_not_fit_the_schema_is_one_line_with_its_place(keys, message):
    """The key of the recipe, the source, the column, and what would do."""
    with pytest.raises(RecipeError) as caught:
        _bind(**keys)
    assert str(caught.value).startswith(f"mix.yaml:1:1 {message}")
    assert "\n" not in str(caught.value)


def test_a_word_that_is_no_column_is_told_how_to_be_a_constant():
    """`lang: en` is the commonest slip."""
    with pytest.raises(RecipeError, match="a constant text would be \"'en'\""):
        _bind(columns=(("lang", "en"),))


FUNCTIONS = """
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

@dataclass
class Settings:
    least: int = 1

def twice(batch):
    kept = batch.filter(pc.greater(batch["id"], Settings().least))
    both = pa.Table.from_batches([kept, kept]).combine_chunks()
    return pa.RecordBatch.from_pydict({"id": both["id"].combine_chunks(), "big": pc.multiply(both["id"], 10).combine_chunks()})

def untyped(batch):
    return pa.RecordBatch.from_pydict({"x": pa.array([None] * batch.num_rows)})

def table(batch):
    return pa.Table.from_batches([batch])

def boom(batch):
    raise KeyError("two\\nlines")

def moody(batch):
    return batch if not batch.num_rows else batch.select(["id"])

def fickle(batch):
    return batch if not batch.num_rows else batch.set_column(0, "id", pa.array(["x"] * batch.num_rows))

def helped(batch):
    import mix_neighbour
    return mix_neighbour.same(batch)
"""


def _with_function(tmp_path, name, *, allow_code=True, code=FUNCTIONS, **keys):
    (tmp_path / "mix_maps.py").write_text(code)
    source = Source(name="s", dataset="ns/s", map=name, **keys)
    return bind(source, SCHEMA, where_is=lambda key: f"mix.yaml:9:9 {key}", allow_code=allow_code, folder=str(tmp_path))


def test_a_function_makes_rows_of_rows(tmp_path):
    """It gets all columns of the rows that the condition keeps; columns and casts see what it returns."""
    transform = _with_function(tmp_path, "mix_maps:twice", where="id < 9", cast=(("big", "string"),))
    (tmp_path / "mix_maps.py").unlink()  # executors do not have it
    transform = pickle.loads(pickle.dumps(transform))
    assert transform.read_schema.equals(SCHEMA)
    assert transform.kept is None
    assert transform.changes_rows
    made = transform.apply(_batch([{"id": n} for n in (1, 2, 3, 9)]))
    assert made.to_pylist() == [{"id": n, "big": str(10 * n)} for n in (2, 3, 2, 3)]
    assert made.schema.equals(transform.schema)


def test_an_installed_function_is_imported(tmp_path):
    """What is not in the recipe's folder comes from where Python finds it."""
    transform = _with_function(tmp_path, "copy:copy")
    assert transform.kept is None
    assert transform.apply(_batch([{"id": 1}])).num_rows == 1


def test_a_function_is_not_run_unasked(tmp_path):
    """Without --allow-code it is not even imported."""
    with pytest.raises(RecipeError, match=r"^mix.yaml:9:9 map: map: 'mix_maps:twice' is Python code, .* --allow-code"):
        _with_function(tmp_path, "mix_maps:twice", allow_code=False, code="raise SystemExit")
    assert (
        parse_recipe("target: ns/x\nsources: [{dataset: ns/a, map: 'no.such:thing'}]").sources[0].map == "no.such:thing"
    )


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("mix_none:f", "cannot be imported: ModuleNotFoundError: No module named 'mix_none'"),
        ("mix_maps:none", "cannot be imported: AttributeError"),
        ("mix_maps:untyped", "gives column 'x' no type when there are no rows; make it with pa.array(values, type)"),
        ("mix_maps:table", "returned a Table; return a pyarrow.RecordBatch"),
        ("mix_maps:boom", "failed: KeyError: 'two\\nlines'"),
        ("mix_maps:helped", "failed: ModuleNotFoundError: No module named 'mix_neighbour'"),
    ],
)
def test_a_function_that_cannot_be_used_is_one_line(tmp_path, name, problem):
    """Source, function and the exception, when it is bound."""
    with pytest.raises(RecipeError) as caught:
        _with_function(tmp_path, name)
    assert str(caught.value).startswith(f"mix.yaml:9:9 map: source 's': function '{name}' {problem}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("mix_maps:moody", "returned the columns id, but id, text, meta, tags, a.b for no rows"),
        ("mix_maps:fickle", "returned other types than for no rows: .*'id' does not fit int32"),
    ],
)
def test_a_function_must_return_the_same_columns_for_any_rows(tmp_path, name, problem):
    """What it returned for no rows is what the mix was planned with."""
    transform = _with_function(tmp_path, name)
    with pytest.raises(RecipeError, match=f"source 's': function '{name}' {problem}"):
        transform.apply(_batch([{"id": 1}]))


def test_features_are_carried_by_columns_that_stay_what_they_were(tmp_path):
    """Under a new name, but not through an expression, a cast, or a function that makes another type of them."""
    label, image = {"names": ["no", "yes"], "_type": "ClassLabel"}, {"_type": "Image"}
    known = {"id": label, "meta": image}
    transform = _bind(columns=(("kind", "id"), ("more", "id + 1"), ("m", "meta")), cast=(("m", "struct<n: int>"),))
    assert transform.carried(known) == {"kind": label}
    assert _bind(columns=(("kind", "id"),), cast=(("kind", "bigint"),)).carried(known) == {}
    changed = "def f(batch):\n    return batch.set_column(0, 'id', batch['id'].cast('string'))"
    assert _with_function(tmp_path, "mix_maps:f", code=changed).carried(known) == {"meta": image}


def test_the_code_of_a_function_is_in_the_fingerprint(tmp_path):
    """Other code makes other rows; the same code in another folder does not."""
    one = _with_function(tmp_path, "mix_maps:twice")
    other = _with_function(tmp_path, "mix_maps:twice", code=FUNCTIONS.replace("10", "11"))
    (tmp_path / "else").mkdir()
    moved = _with_function(tmp_path / "else", "mix_maps:twice")
    assert one.fingerprint == moved.fingerprint != other.fingerprint
    two = _batch([{"id": 2}])
    assert (one.apply(two).to_pylist()[0]["big"], other.apply(two).to_pylist()[0]["big"]) == (20, 22)
