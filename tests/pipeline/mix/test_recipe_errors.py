"""What a recipe may not say: one line, with its place."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import RecipeError
from pipeline.mix.recipe import RECIPE_KEYS, parse_recipe
from tests.pipeline.mix.recipe_example import EXAMPLE


def _edited(old, new):
    assert old in EXAMPLE
    return EXAMPLE.replace(old, new)


WRONG = [
    ("repeat: 2", "weight: -3", "9:5: sources[1].weight must be greater than 0, got -3"),
    ("repeat: 2", "weight: 0.0", "9:5: sources[1].weight must be greater than 0, got 0.0"),
    ("repeat: 2", "weight: lots", "9:5: sources[1].weight must be a number greater than 0, got 'lots'"),
    ("repeat: 2", "weight: .nan", "9:5: sources[1].weight must be a number greater than 0, got .nan"),
    ("repeat: 2", "weight: .inf", "9:5: sources[1].weight must be a number greater than 0, got .inf"),
    ("repeat: 2", "weight: 1.0e+400", "9:5: sources[1].weight must be less than 1.8e308, got 1.0e+400"),
    ("repeat: 2", "weight: true", "9:5: sources[1].weight must be a number greater than 0, got the boolean true"),
    ("repeat: 2", "weight: 3", "6:5: sources[0] has no weight, others have; give all sources a weight or none"),
    ("repeat: 2", "repeat: 2000000", "9:5: sources[1].repeat must be at most 1000000, got 2000000"),
    ("repeat: 2", "repeat: 010", "9:5: sources[1].repeat must be a number of times greater than 0, got 010"),
    ("repeat: 2", "repeat: 0", "9:5: sources[1].repeat must be greater than 0, got 0"),
    ("repeat: 2", "{repeat: 2}", "10:3: this is not YAML"),
    ("repeat: 2", "repeat: 2\n    weight: 1", "9:5: sources[1].repeat cannot stand beside weight"),
    ("repeat: 2", "parquet: a", "9:5: sources[1].parquet cannot stand beside dataset; make it a source of its own"),
    ("repeat: 2", "config: 'a*'", "9:5: sources[1].config must be a config's name without any of"),
    ("repeat: 2", "split: a/b", "9:5: sources[1].split must be a split's name of letters"),
    ("repeat: 2", "wieght: 2", "9:5: sources[1].wieght is not a key of a source; did you mean 'weight'? the keys"),
    ("repeat: 2", "<<: {}", "9:5: sources[1].<< is not a key of a source"),
    ("repeat: 2", "2: 2", "9:5: sources[1]: the key must be text, got the number 2; put it in quotes"),
    ("repeat: 2", "columns: []", "9:5: sources[1].columns must have at least one entry"),
    ("repeat: 2", "columns: [a, b, a]", "9:21: sources[1].columns[2] 'a' is given twice; keep one"),
    (
        "repeat: 2",
        "columns: {}",
        "9:5: sources[1].columns must be a mapping of mix column to source column or SQL, or a list",
    ),
    ("repeat: 2", "columns: {a: .inf}", "9:15: sources[1].columns.a must be a source column, a path such as meta.lang"),
    ("repeat: 2", "columns: {a: [b]}", "9:15: sources[1].columns.a must be a source column, a path such as meta.lang"),
    ("repeat: 2", "columns: {'*': b}", """9:15: sources[1].columns.* must be "*", for all other columns, got 'b'"""),
    ("repeat: 2", "map: {a: 'foo(x)'}", "9:11: sources[1].map.a: 1-based column 1: function 'foo' is not supported"),
    ("repeat: 2", "map: clean", "9:5: sources[1].map must be a function such as my_module:clean, or a mapping"),
    ("repeat: 2", "map: a:b:c", "9:5: sources[1].map must be a function such as my_module:clean, or a mapping"),
    ("repeat: 2", "cast: {a: bigit}", "9:12: sources[1].cast.a 'bigit' is not a type; did you mean 'bigint'?"),
    ("repeat: 2", "cast: bigint", "9:5: sources[1].cast must be a mapping of columns to types such as"),
    ("repeat: 2", "copy: always", "9:5: sources[1].copy must be one of auto, never, got 'always'"),
    ("repeat: 2", "max_repeat: 2", "9:5: sources[1].max_repeat needs a weight or the mix's temperature to limit"),
    ("repeat: 2", "max_repeat: 0.5", "9:5: sources[1].max_repeat must be at least 1 and at most 1000000, got 0.5"),
    ("seed: 42", "spread: even", "2:1: spread must be one of balanced, random, got 'even'"),
    ("shuffle: blocks  ", "shuffle: rows\nspread: random #", "4:1: spread goes with shuffle: blocks, not with rows"),
    (
        "seed: 42",
        "block_rows: 8\nblock_bytes: 1MB",
        "2:1: block_rows cannot stand beside block_bytes; keep one of them",
    ),
    ("seed: 42", "block_rows: 0", "2:1: block_rows must be at least 1, got 0"),
    ("seed: 42", "shards: 8", "2:1: shards cannot stand beside shard_bytes; keep one of them"),
    ("seed: 42", "shard_rows: 8", "2:1: shard_rows cannot stand beside shard_bytes; keep one of them"),
    ("shard_bytes: 100MB", "shards: 8\nshard_rows: 8", "4:1: shards cannot stand beside shard_rows; keep one of them"),
    ("shard_bytes: 100MB", "shards: 8\nshards_multiple_of: 8", "4:1: shards cannot stand beside shards_multiple_of"),
    ("seed: 42", "shards: 1000000", "2:1: shards must be at most 100000, got 1000000"),
    ("seed: 42", "splits: {a: 0.5, b: 0.4}", "2:1: splits must have shares that make up 1, got 0.9 in all"),
    ("seed: 42", "splits: {a: 0.5, b/c: 0.5}", "2:18: splits: the key must be a split's name of letters, digits"),
    ("seed: 42", "splits: {a: 1.5}", "2:10: splits.a must be a share such as 0.01 or 1% (above 0, at most 1), got 1.5"),
    ("seed: 42", "splits: [a, b]", "2:1: splits must be a mapping of splits to shares such as"),
    ("seed: 42", "splits: {a: 1}\nsplit: a", "2:1: splits cannot stand beside split; keep one of them"),
    ("seed: 42", "temperature: 0", "2:1: temperature must be greater than 0, got 0"),
    ("seed: 42", "temperature: 1e5", "2:1: temperature must be a number greater than 0, such as 2, got '1e5'"),
    ("seed: 42", "temperature: 2", "9:5: sources[1].repeat cannot stand beside the mix's temperature"),
    ("seed: 42", "columns: {a: foo}", "2:11: columns.a 'foo' is not a type; "),
    (
        "seed: 42",
        "columns: [a]",
        "2:1: columns must be a mapping of columns to types such as {label: bigint, text: string}",
    ),
    ("seed: 42", "columns: {source: int}", "2:11: columns.source 'source' is a declared column and the one that"),
    ("seed: 42", "source_row_column: source", "2:1: source_row_column 'source' is also the source_column; rename one"),
    ("seed: 42", "dedup_by: text", "2:1: dedup_by must be content, or a list of columns such as [text], got 'text'"),
    ("seed: 42", "dedup_by: [a, a]", "2:15: dedup_by[1] 'a' is given twice; keep one"),
    (
        "seed: 42",
        "columns: {text: string}\ndedup_by: [txt]",
        "3:12: dedup_by[0] 'txt' is no declared column; did you mean 'text'? there are text",
    ),
    ("seed: 42", "layout: editable", "2:1: layout must be blocks, got 'editable'"),
    (
        "seed: 42",
        "public: true",
        "2:1: public must be a list of repos such as [ns/name], those that are private or gated",
    ),
    (
        "seed: 42",
        "public: [ns/caption]",
        "2:10: public[0] 'ns/caption' is no source of this mix; did you mean 'ns/captions'?",
    ),
    ("seed: 42", "private: true\npublic: [ns/captions]", "3:1: public cannot stand beside private: true; remove one"),
    ("repeat: 2", "dataset: ns/x", "9:5: sources[1].dataset is given twice; keep one"),
    ("seed: 42", "config: data", "2:1: config is 'data', the folder of config 'default'; give it another name"),
    ("seed: 42", "config: .hid", "2:1: config must be a folder's name, got '.hid'"),
    ("seed: 42", "seeed: 42", "2:1: seeed is not a key of a recipe; did you mean 'seed'"),
    ("seed: 42", "seed: 1.5", "2:1: seed must be a whole number, got 1.5"),
    ("seed: 42", "seed: yes", "2:1: seed must be a whole number, got the boolean yes"),
    ("seed: 42", "seed: 1:30", "2:1: seed must be a whole number, got 1:30"),
    ("seed: 42", "seed: -1", "2:1: seed must be at least 0, got -1"),
    ("seed: 42", f"seed: {10**30}", f"2:1: seed must be at most {2**63 - 1}, got {10**30}"),
    (
        "seed: 42",
        "seed: !!python/object:os.system x",
        "2:1: seed has the tag tag:yaml.org,2002:python/object:os.system",
    ),
    ("seed: 42", "seed: [", "4:1: this is not YAML: expected ',' or ']'"),
    ("seed: 42", "private: 1", "2:1: private must be true or false, got 1"),
    (
        "seed: 42",
        "source_column: true",
        "2:1: source_column must be a column's name, or false for no such column, got the boolean true",
    ),
    (
        "seed: 42",
        "source_column: null",
        "2:1: source_column must be a column's name, or false for no such column, got nothing (null)",
    ),
    ("seed: 42", "total_rows: 10", "2:1: total_rows needs weights to share it by; give every source a weight"),
    ("blocks  ", "some", "3:1: shuffle must be one of blocks, rows, none, got 'some"),
    ("100MB", "lots", "4:1: shard_bytes must be a size such as 100MB or 64MiB, got 'lots'"),
    ("100MB", "10KB", "4:1: shard_bytes must be at least 64KB, got '10KB'"),
    ("100MB", "9" * 400, "4:1: shard_bytes must be a size such as 100MB or 64MiB, got 999"),
    ("100MB", "9" * 400 + "MB", "4:1: shard_bytes must be a size such as 100MB or 64MiB, got '999"),
    (
        "ns/finevision-mini ",
        "finevision ",
        "1:1: target must be ns/name, hf://datasets/ns/name, hf://buckets/ns/name or a folder that starts with ./, ../, /",
    ),
    ("ns/finevision-mini ", "s3://bucket/x ", "1:1: target must be ns/name"),
    ("target: ns/finevision-mini ", "", "2:1: the recipe has no target; add target: ns/name or pass --output"),
    (
        "dataset: ns/captions ",
        "dataset: captions ",
        "6:5: sources[0].dataset must be ns/name or hf://datasets/ns/name@revision",
    ),
    ("dataset: ns/captions ", "dataset: hf://datasets/ns/a/b.parquet ", "6:5: sources[0].dataset must be"),
    ("dataset: ns/captions ", "split: train ", "6:5: sources[0] has neither dataset nor parquet; add one of them"),
    (
        "dataset: ns/captions ",
        "dataset: ns/a@v1\n    revision: v2 ",
        "7:5: sources[0].revision is given twice, the dataset ends in @v1",
    ),
    (
        "take: 1000",
        "take: 120%",
        "12:5: sources[2].take must be a number of rows, or a share such as 0.1 or 10% (above 0, at most 100%)",
    ),
    (
        "take: 1000",
        "take: 1.5",
        "12:5: sources[2].take must be a whole number of rows, or a share of at most 1.0, got 1.5",
    ),
    (
        "take: 1000",
        "take: many",
        "12:5: sources[2].take must be a number of rows, or a share such as 0.1 or 10%, got 'many'",
    ),
    ("take: 1000", "name: no", '12:5: sources[2].name must be text, got the boolean no; put it in quotes: "no"'),
    (
        "take: 1000",
        "name: 2026-01-31",
        '12:5: sources[2].name must be text, got the date 2026-01-31; put it in quotes: "2026-01-31"',
    ),
    ("take: 1000", "name: ''", "12:5: sources[2].name must be text that is not empty, got ''"),
    ("take: 1000", "revision: v1", "12:5: sources[2].revision goes with dataset, not with parquet; remove it"),
    (
        "length(text)",
        "xyz(text)",
        "11:5: sources[2].where: 1-based column 1: function 'xyz' is not supported; use one of",
    ),
    ("data/extra/*.parquet ", "{a: b} ", "10:5: sources[2].parquet must be a path or a list of paths, got a mapping"),
    ("take: 1000", "take: 1000\n  - nothing", "13:5: sources[3] must be a mapping of keys to values, got 'nothing'"),
    (
        "  - dataset: ns/stdlib-qa",
        "  - dataset: ns/stdlib-qa\n    name: x\n  - dataset: ns/b\n    name: x",
        "11:5: sources[2].name 'x' is also the name of sources[1]; rename one",
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), WRONG, ids=[f"{new[:40]}" for _, new, _ in WRONG])
def test_an_error_is_one_line_that_starts_with_its_place(old, new, message):
    """file:line:column, the path of the value, what was expected, what was there."""
    with pytest.raises(RecipeError) as caught:
        parse_recipe(_edited(old, new))
    assert str(caught.value).startswith(f"mix.yaml:{message}")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: the recipe is empty; start with target: and sources:"),
        ("- a", "1:1: the recipe must be a mapping of keys to values, got a list"),
        ("a: 1\n---\nb: 2", "2:1: this is not YAML: but found another document"),
        ("target: ns/x\nsources: []", "2:1: sources must have at least one entry, got an empty list"),
        ("target: ns/x", "1:1: the recipe has no sources; add sources:"),
        ("target: ns/x\nsources: &a [*a]", "2:10: sources[0] must be a mapping of keys to values, got a list"),
        ("seed: 1\nname: a\x00b", "2:8: there is a character that YAML does not allow; remove it"),
        ("seed: *a", "1:7: this is not YAML: found undefined alias 'a'"),
        ('a: "\\UFFFFFFFF"', "1:1: this cannot be read as YAML"),
        ("[" * 5000, "1:1: this cannot be read as YAML (RecursionError); simplify it"),
    ],
)
def test_what_is_no_recipe_is_one_line(text, message):
    """Broken YAML and wrong shapes are errors with a place, whatever they are."""
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text)
    assert str(caught.value).startswith(f"mix.yaml:{message}")


SECRETS = [
    "s3://AKIAKEY:HUSH@bucket/a.parquet",
    "s3://AKIAKEY:HU/SH@bucket/a.parquet",
    "S3://HUSH@bucket/a.parquet",
    "s3://bucket/a.parquet?region=x&secret_key=HUSH",
    "s3://bucket/a.parquet?access_key=HUSH",
    "s3://bucket/a.parquet?session_token=HUSH",
    "abfss://:HUSH@account/a.parquet",
    "abfss://c@account/a.parquet?sv=2&sig=HUSH",
    "gs://bucket/a.parquet?X-Goog-Signature=HUSH",
    "hf://HUSH:HUSH@datasets/ns/name/a.parquet",
]


@pytest.mark.parametrize("uri", SECRETS)
def test_credentials_in_a_uri_are_refused_and_not_repeated(uri):
    """A recipe is published, so that a secret has no place in it; the message says where it stands, and what to use instead."""
    with pytest.raises(RecipeError) as caught:
        parse_recipe(f"target: ns/x\nsources:\n  - parquet:\n    - a.parquet\n    - {uri}\n")
    assert str(caught.value).startswith("mix.yaml:5:7: sources[0].parquet[1] holds credentials")
    assert "AWS_SECRET_ACCESS_KEY" in str(caught.value)
    assert "HUSH" not in str(caught.value)
    assert "AKIAKEY" not in str(caught.value)


SNIPPETS = st.lists(
    st.sampled_from(
        [*EXAMPLE.splitlines(keepends=True), "- ", ": ", "{", "]", "&a", "*a", "!!int ", "'", "\t", "weight: ", "1e999"]
    )
    | st.text(max_size=5),
    max_size=12,
).map("".join)


@settings(max_examples=400, deadline=None)
@given(st.text() | SNIPPETS)
def test_any_text_is_a_recipe_or_one_error(text):
    """Nothing but `RecipeError` comes out, on one line that starts with a place."""
    try:
        parse_recipe(text)
    except RecipeError as err:
        message = str(err)
    else:
        return
    assert message.startswith("mix.yaml:")
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [
        "target: https://me:hunter2@hub.example/datasets/ns/x\nsources: [{dataset: ns/a}]",
        "target: ns/x\nsources: [{dataset: 'hf://me:hunter2@datasets/ns/a'}]",
        "target: ns/x\nsources: [{parquet: 's3://me:hunter2@bucket/a'}]",
    ],
)
def test_a_secret_is_refused_and_not_repeated(text):
    """Wherever a URI stands in a recipe, a password in it is refused without being shown."""
    with pytest.raises(RecipeError, match="holds credentials") as caught:
        parse_recipe(text)
    assert "hunter2" not in str(caught.value)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text("a*:1{ %é", max_size=4)
    | st.sampled_from(["1e9", "9" * 40])
)
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("a*1"), inner, max_size=2)
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(RECIPE_KEYS), ANYTHING)
def test_any_value_of_any_key_is_read_or_one_error_at_its_place(key, value):
    """Whatever stands behind a key: it is taken, or the error is in its lines, and tells its path."""
    written = f"{key.name}: {json.dumps(value)}"
    if key.scope == "recipe":
        text = f"{written}\n" + ("" if key.name == "target" else "target: ns/x\n")
        text += "" if key.name == "sources" else "sources: [{dataset: ns/a, weight: 1}]"
    else:
        text = f"target: ns/x\nsources:\n- {written}\n" + (
            "" if key.name in ("dataset", "parquet") else "  dataset: ns/a\n"
        )
    try:
        parse_recipe(text)
    except RecipeError as err:
        message = str(err)
    else:
        return
    line = 1 if key.scope == "recipe" else 3
    assert message.startswith(f"mix.yaml:{line}:")
    assert key.name in message or "not YAML" in message
    assert len(message.splitlines()) == 1
