"""How the columns of several sources become those of the mix."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import SchemaError
from pipeline.mix.schema import Offered, align
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
        "cast or rename",
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
