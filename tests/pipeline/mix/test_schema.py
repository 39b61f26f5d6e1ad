"""How the columns of several sources become those of the mix."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RecipeError, SchemaError
from pipeline.mix.recipe import parse_recipe
from pipeline.mix.schema import Offered, align, mix_schema
from pipeline.parquet.conform import conform, plain_type
from pipeline.parquet.features import feature_of_type

LABEL = {"names": ["no", "yes"], "_type": "ClassLabel"}
IMAGE = {"_type": "Image"}
PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def _offered(name, features=None, **columns):
    return Offered(name=name, schema=pa.schema(list(columns.items())), features=features or {})


KINDS = st.sampled_from(
    [
        pa.int8(),
        pa.int32(),
        pa.uint8(),
        pa.uint32(),
        pa.float32(),
        pa.float64(),
        pa.string(),
        pa.large_string(),
        pa.null(),
    ]
)
SCHEMAS = st.lists(st.dictionaries(st.sampled_from("abcd"), KINDS, min_size=1), min_size=1, max_size=4)


@given(SCHEMAS)
def test_the_mix_has_every_column_once_and_every_value_fits(schemas):
    """Union by name in order of first appearance; a source's values, and nulls for what it lacks, fit the mix's types."""
    sources = [_offered(f"s{n}", **columns) for n, columns in enumerate(schemas)]
    try:
        schema, features = align(sources, "source")
    except SchemaError:
        return
    assert schema.names == [*dict.fromkeys(name for columns in schemas for name in columns), "source"]
    assert list(features) == schema.names
    for source in sources:
        whole = conform(
            pa.RecordBatch.from_arrays([pa.nulls(1, column.type) for column in source.schema], schema=source.schema),
            schema,
            source.name,
        )
        assert whole.schema == schema
        for column in source.schema:
            for value in (0, 100) if pa.types.is_integer(column.type) else ():
                widened = pa.array([value], column.type).cast(schema.field(column.name).type)
                assert widened.to_pylist() == [value]


@pytest.mark.parametrize(
    ("one", "two", "both"),
    [
        (pa.int8(), pa.int64(), pa.int64()),
        (pa.uint8(), pa.int8(), pa.int16()),
        (pa.uint32(), pa.int8(), pa.int64()),
        (pa.float32(), pa.float64(), pa.float64()),
        (pa.string(), pa.large_string(), pa.large_string()),
        (pa.null(), pa.int8(), pa.int8()),
        (pa.dictionary(pa.int32(), pa.string()), pa.string(), pa.string()),
        (pa.list_(pa.int8()), pa.list_(pa.int32()), pa.list_(pa.field("element", pa.int32()))),
        (
            pa.struct([("a", pa.int8()), ("b", pa.null())]),
            pa.struct([("b", pa.string()), ("a", pa.int64())]),
            pa.struct([("a", pa.int64()), ("b", pa.string())]),
        ),
    ],
)
def test_types_are_widened_only_where_nothing_is_lost(one, two, both):
    """Integers to integers, floats to floats, small to large, null to anything, also inside lists and structs."""
    for first, second in ((one, two), (two, one)):
        schema, _ = align([_offered("s", x=first), _offered("t", x=second)], None)
        kind = schema.field("x").type
        assert kind == both or set(kind) == set(both)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (pa.int64(), pa.string()),
        (pa.int64(), pa.float64()),
        (pa.uint64(), pa.int8()),
        (pa.timestamp("us"), pa.timestamp("us", "UTC")),
        (pa.timestamp("us"), pa.timestamp("ns")),
        (pa.list_(pa.int8()), pa.int8()),
        (pa.struct([("a", pa.int8())]), pa.struct([("b", pa.int8())])),
        (pa.decimal128(9, 2), pa.decimal128(9, 3)),
    ],
)
def test_a_conflict_names_source_column_and_both_types(one, two):
    """What would lose values is refused in one line that says where, what, and what to do."""
    with pytest.raises(SchemaError) as caught:
        align([_offered("first", x=one), _offered("between", y=pa.int8()), _offered("second", x=two)], None)
    said = str(caught.value)
    for part in (
        "source 'second'",
        "column 'x'",
        str(two),
        str(plain_type(one)),
        "source 'first'",
        "'cast'",
        "'columns'",
    ):
        assert part in said
    assert "\n" not in said


def test_features_are_carried_where_the_sources_agree():
    """Image wins over the struct that it is, equal labels stay, a source without the column has no say."""
    schema, features = align(
        [
            _offered("a", {"image": IMAGE, "label": LABEL}, image=PICTURE, label=pa.int64()),
            _offered("b", image=PICTURE),
            _offered("c", {"label": LABEL}, label=pa.int64(), text=pa.string()),
        ],
        "source",
    )
    assert features == {
        "image": IMAGE,
        "label": LABEL,
        "text": {"dtype": "string", "_type": "Value"},
        "source": {"dtype": "string", "_type": "Value"},
    }
    assert schema.field("image").type == PICTURE


def test_labels_need_the_word_of_every_source():
    """Plain integers from another source are no labels: the column is an integer then, at any depth, in either order."""
    nested = {"feature": LABEL, "_type": "List"}
    for feature, kind in (
        (LABEL, pa.int64()),
        (nested, pa.list_(pa.int64())),
        ({"l": LABEL}, pa.struct([("l", pa.int64())])),
    ):
        sources = [_offered("a", {"x": feature}, x=kind), _offered("b", x=kind)]
        for order in (sources, sources[::-1]):
            _, features = align(order, None)
            assert features == {"x": feature_of_type(kind)}


def test_a_struct_with_a_field_called_names_keeps_its_features():
    """Only labels are dropped, not what looks like them."""
    kind = pa.struct([("names", PICTURE)])
    feature = {"names": IMAGE}
    _, features = align([_offered("a", {"x": feature}, x=kind), _offered("b", x=kind)], None)
    assert features == {"x": feature}


def test_features_that_differ_are_refused():
    """Labels with other names, or in another order, are another column; the message names both sources."""
    other = {"names": ["yes", "no"], "_type": "ClassLabel"}
    with pytest.raises(SchemaError, match=r"column 'x' has different features: .* in source 'a', .* in source 'b'"):
        align([_offered("a", {"x": LABEL}, x=pa.int64()), _offered("b", {"x": other}, x=pa.int64())], None)


def test_a_type_without_a_feature_claims_none():
    """With a map in the mix no feature is written at all: `datasets` reads the types."""
    schema, features = align([_offered("a", x=pa.map_(pa.string(), pa.int8()), y=pa.int8())], "source")
    assert features is None
    assert schema.names == ["x", "y", "source"]


def test_the_source_columns_name_must_be_free():
    """A source that has such a column is named, with the three ways out; without a source column it is fine."""
    sources = [_offered("a", x=pa.int8()), _offered("b", source=pa.string())]
    with pytest.raises(
        SchemaError, match=r"source 'b': column 'source' .* rename it in 'columns', or set 'source_column'"
    ):
        align(sources, "source")
    assert align(sources, None)[0].names == ["x", "source"]
    assert align(sources, "from")[0].names == ["x", "source", "from"]


def test_sources_without_columns_are_refused():
    """Nothing to mix is said."""
    with pytest.raises(SchemaError, match="no columns"):
        align([_offered("a")], "source")


def _declared(columns, *sources, more=""):
    recipe = parse_recipe(f"target: ns/x\n{more}columns: {columns}\nsources: [{{dataset: ns/a}}]")
    return mix_schema(recipe, sources)


def test_declared_columns_are_the_mix():
    """Their order and types, whatever else the sources have; a source without one has nulls there; features are carried."""
    schema, features = _declared(
        "{text: string, label: bigint, when: 'timestamp[us]', ids: array<int64>}",
        _offered("a", {"label": LABEL}, label=pa.int8(), text=pa.large_string(), other=pa.int8()),
        _offered("b", when=pa.null(), ids=pa.large_list(pa.int32()), text=pa.dictionary(pa.int8(), pa.string())),
    )
    assert schema.names == ["text", "label", "when", "ids", "source"]
    assert [column.type for column in schema][:3] == [pa.string(), pa.int64(), pa.timestamp("us")]
    assert schema.field("ids").type == pa.list_(pa.field("element", pa.int64()))
    assert features["label"] == LABEL


@pytest.mark.parametrize(
    ("declared", "own", "shown"),
    [
        ("int", pa.int64(), "is int64, which does not fit the declared int32"),
        ("string", pa.int64(), "is int64, which does not fit the declared string"),
        ("float", pa.float64(), "is double, which does not fit the declared float"),
        (
            "timestamp",
            pa.timestamp("us"),
            r"is timestamp\[us\], which does not fit the declared timestamp\[us, tz=UTC\]",
        ),
        (
            "decimal(9, 2)",
            pa.decimal128(9, 3),
            r"is decimal128\(9, 3\), which does not fit the declared decimal128\(9, 2\)",
        ),
        ("array<int>", pa.list_(pa.int64()), "which does not fit the declared list<element: int32>"),
        (
            "'struct<a: int>'",
            pa.struct([("a", pa.int32()), ("b", pa.int8())]),
            "does not fit the declared struct<a: int32>",
        ),
    ],
)
def test_what_does_not_fit_a_declared_type_is_an_error_at_its_place(declared, own, shown):
    """File, line and column of the declaration, the source, the column and both types."""
    quoted = declared if declared.startswith("'") else f"'{declared}'"
    with pytest.raises(RecipeError, match=rf"^mix.yaml:2:11: source 'b': column 'x' .*{shown}; add 'cast") as caught:
        _declared(f"{{x: {quoted}}}", _offered("a", y=pa.int8()), _offered("b", x=own))
    assert "\n" not in str(caught.value)


def test_a_declared_column_that_no_source_has_is_refused():
    """It would be null everywhere: a slip."""
    with pytest.raises(RecipeError, match=r"^mix.yaml:2:19: column 'txt' is declared, but no source has it"):
        _declared("{x: int, txt: string}", _offered("a", x=pa.int8()))


def test_a_column_is_required_only_where_all_sources_require_it():
    """Files with required columns can be copied raw into it; a source that lacks it, or may have nulls, makes it nullable."""
    required = Offered(
        name="a", schema=pa.schema([pa.field("x", pa.int8(), False), pa.field("y", pa.int8(), False)]), features={}
    )
    other = Offered(name="b", schema=pa.schema([pa.field("x", pa.int16(), False)]), features={})
    assert [c.nullable for c in align([required], None)[0]] == [False, False]
    assert [c.nullable for c in align([required, other], None)[0]] == [False, True]
    assert [c.nullable for c in align([required, other, _offered("c", x=pa.int8())], None)[0]] == [True, True]
    assert [c.nullable for c in _declared("{y: int, x: int}", required, other)[0]] == [True, False, True]


def test_required_children_stay_so_where_all_sources_agree():
    """At any depth; where one differs, all children are nullable."""
    inner = pa.struct([pa.field("a", pa.int8(), False)])
    strict = pa.list_(pa.field("item", inner, False))
    loose = pa.list_(pa.field("item", pa.struct([("a", pa.int8())])))
    both = align([_offered("a", x=strict), _offered("b", x=strict)], None)[0].field("x").type
    assert not both.value_field.nullable
    assert not both.value_type.field("a").nullable
    for sources in (
        [_offered("a", x=strict), _offered("b", x=loose)],
        [_offered("a", x=loose), _offered("b", x=strict)],
    ):
        mixed = align(sources, None)[0].field("x").type
        assert mixed.value_field.nullable
        assert mixed.value_type.field("a").nullable


def test_the_columns_that_a_mix_adds_come_last():
    """Source and row number, each only where it is wanted, under names that no other column has."""
    sources = [_offered("a", x=pa.int8()), _offered("b", row=pa.string())]
    schema, features = align(sources[:1], "source", "row")
    assert schema.names == ["x", "source", "row"]
    assert schema.field("row").type == pa.int64()
    assert features["row"] == {"dtype": "int64", "_type": "Value"}
    with pytest.raises(
        SchemaError, match=r"source 'b': column 'row' .* 'source_row_column' to another name or to false"
    ):
        align(sources, "source", "row")
