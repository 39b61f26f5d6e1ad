"""What a recipe may say, and where an error points."""

import json
import math
import pickle
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import NotFoundError, OptionError, RecipeError
from pipeline.mix import recipe as recipe_module
from pipeline.mix.recipe import RECIPE_KEYS, load_recipe, parse_recipe, parse_target

EXAMPLE = """\
target: ns/finevision-mini          # where the mix goes; or a local folder
seed: 42
shuffle: blocks                     # blocks | rows | none
shard_bytes: 100MB
sources:
  - dataset: ns/captions            # on the Hub: config, split, revision optional
    columns: {image: image, text: caption}   # mix column: source column
  - dataset: ns/stdlib-qa
    repeat: 2
  - parquet: data/extra/*.parquet   # local or s3://, gs://, hf:// files
    where: "length(text) > 20"
    take: 1000
"""


def test_the_example_of_the_readme_is_read_whole():
    """Every value of the example arrives, with defaults for the rest, and survives pickling and JSON."""
    recipe = parse_recipe(EXAMPLE)
    captions, qa, extra = recipe.sources
    assert (recipe.target, recipe.seed, recipe.shuffle, recipe.shard_bytes) == (
        "ns/finevision-mini",
        42,
        "blocks",
        10**8,
    )
    assert (recipe.block_bytes, recipe.config, recipe.split, recipe.source_column) == (
        None,
        "default",
        "train",
        "source",
    )
    assert captions.columns == (("image", "image"), ("text", "caption"))
    assert (captions.name, captions.dataset, captions.split, captions.repeat) == ("captions", "ns/captions", "train", 1)
    assert (qa.name, qa.repeat, qa.take) == ("stdlib-qa", 2, None)
    assert (extra.name, extra.parquet, extra.where, extra.take) == (
        "extra",
        ("data/extra/*.parquet",),
        "length(text) > 20",
        1000,
    )
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    assert json.loads(json.dumps(recipe.to_dict()))["sources"][1]["repeat"] == 2


def test_places_are_kept_for_errors_that_come_later():
    """`where_is` gives file, line and column of a value's key, else of what is around it."""
    recipe = parse_recipe(EXAMPLE, name="conf/mix.yaml")
    assert recipe.where_is("sources[2].where") == "conf/mix.yaml:11:5"
    assert recipe.where_is("sources[0].columns.text") == "conf/mix.yaml:7:29"
    assert recipe.where_is("sources[0].columns.other") == "conf/mix.yaml:7:5"
    assert recipe.where_is("sources[1].where") == "conf/mix.yaml:8:5"
    assert recipe.where_is("sources[9]") == "conf/mix.yaml:5:1"
    assert recipe.where_is("split") == "conf/mix.yaml:1:1"
    assert recipe.sources[1].position == (8, 5)


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
    ("repeat: 2", "config: '*'", "9:5: sources[1].config must be a config's name without any of"),
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
    (
        "repeat: 2",
        "columns: {a: 1}",
        '9:15: sources[1].columns.a must be a source column or SQL, got the number 1; put it in quotes: "1"',
    ),
    ("repeat: 2", "dataset: ns/x", "9:5: sources[1].dataset is given twice; keep one"),
    ("seed: 42", "config: data", "2:1: config is 'data', the folder of config 'default'; give it another name"),
    ("seed: 42", "config: .hid", "2:1: config must be a folder's name, got '.hid'"),
    ("seed: 42", "sead: 42", "2:1: sead is not a key of a recipe; did you mean 'seed'? the keys are target, seed,"),
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
        "1:1: target must be ns/name, hf://datasets/ns/name or a folder that starts with ./, ../, /",
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
        "foo(text)",
        "11:5: sources[2].where: 1-based column 1: function 'foo' is not supported; use one of",
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


def test_uris_without_credentials_are_read():
    """A user that is no secret, a query without one, a revision, an @ in a path: all stay as they are."""
    uris = [
        "gs://anonymous@bucket/a.parquet",
        "abfss://container@account.dfs.core.windows.net/a.parquet",
        "s3://bucket/a@b:c/a.parquet?region=eu&endpoint_override=localhost:9000&scheme=http",
        "hf://datasets/ns/name@v1/data/*.parquet",
        "/tmp/key=1/token?.parquet",
    ]
    listed = "".join(f"    - {uri}\n" for uri in uris)
    (source,) = parse_recipe(f"target: ns/x\nsources:\n  - parquet:\n{listed}").sources
    assert list(source.parquet) == uris


def test_a_source_may_have_a_config_that_a_mix_may_not():
    """What others called their configs is theirs."""
    assert _sources("  - {dataset: ns/a, config: data}")[0].config == "data"
    assert _sources("  - {dataset: ns/a, columns: {a: 'what?', b: 'upper(b'}}")[0].columns[0] == ("a", "what?")


def _sources(text, **keys):
    return parse_recipe("target: ns/x\nsources:\n" + text, **keys).sources


def test_names_are_derived_and_unique():
    """Repo or folder, then config and split, then a number; the first of several keeps the plain name."""
    text = """
  - {dataset: ns/x, config: en}
  - {dataset: other/x, config: en}
  - {dataset: ns/x, config: en, split: test}
  - {dataset: ns/x}
  - {dataset: hf://datasets/ns/y@refs/pr/1, name: x-3}
  - {dataset: ns/x}
  - {parquet: "s3://bucket/deep/data.parquet"}
  - {parquet: [file.parquet, other]}
  - {parquet: "*.parquet"}
"""
    names = [source.name for source in _sources(text)]
    assert names == ["x", "x-en", "x-en-test", "x-2", "x-3", "x-4", "deep", "file", "parquet"]


def test_datasets_and_paths_are_taken_apart():
    """Revisions come off the address; local paths start from the recipe's folder, other URIs stay."""
    text = """
  - dataset: hf://datasets/ns/y@refs/pr/1
  - {dataset: ns/z, revision: v1.0}
  - parquet: [a/*.parquet, ../b, /abs/c, "file:///d%20e", "s3://b/k/*.parquet", "hf://datasets/ns/x/data/*"]
"""
    first, second, third = _sources(text, name="/home/me/mix.yaml")
    assert (first.dataset, first.revision) == ("ns/y", "refs/pr/1")
    assert (second.dataset, second.revision) == ("ns/z", "v1.0")
    local = ("/home/me/a/*.parquet", "/home/b", "/abs/c", "/d e")
    assert third.parquet_paths == (*local, "s3://b/k/*.parquet", "hf://datasets/ns/x/data/*")
    assert third.parquet[0] == "a/*.parquet"


def test_quantities_keep_their_kind():
    """Rows are ints, shares floats; weights of all sources go with total_rows; anchors may repeat values."""
    text = "  - {dataset: ns/a, take: 10%}\n  - {dataset: ns/b, take: 0.25, repeat: 2.5}\n  - {dataset: ns/c, take: 1_000}\n"
    assert [(s.take, s.repeat) for s in _sources(text)] == [(0.1, 1), (0.25, 2.5), (1000, 1)]
    weighted = parse_recipe(
        "target: ./out\ntotal_rows: 10\nshuffle: none\nsource_column: false\nprivate: yes\nblock_bytes: 1.5MiB\n"
        "sources: [{dataset: ns/a, weight: &w 0.5, columns: [a, 'b c']}, {dataset: ns/b, weight: *w}]"
    )
    assert [source.weight for source in weighted.sources] == [0.5, 0.5]
    assert (weighted.total_rows, weighted.source_column, weighted.private) == (10, None, True)
    assert (weighted.block_bytes, weighted.shuffle, weighted.target) == (1_572_864, "none", "./out")
    assert weighted.sources[0].columns == (("a", "a"), ("b c", "b c"))


@pytest.mark.parametrize(
    ("written", "target"),
    [
        ("ns/name", "ns/name"),
        ("hf://datasets/ns/na.me-1", "ns/na.me-1"),
        ("./out", "./conf/out"),
        ("../out/", "./out"),
        ("../../out/", "../out"),
        ("/abs/../out", "/out"),
        ("file:///a%20b", "/a b"),
    ],
)
def test_a_target_is_a_repo_or_a_folder(written, target):
    """Repos lose their prefix; folders begin with / or a dot, so that the two cannot be confused."""
    assert parse_target(written, Path("conf")) == target


@pytest.mark.parametrize(
    "written", ["name", "a/b/c", "ns/a..b", "s3://b/k", "hf://datasets/ns", "ns/name@rev", "", "ns/", "data/x y"]
)
def test_other_targets_are_refused(written):
    """What is neither says what would be."""
    with pytest.raises(OptionError, match="target must be ns/name, hf://datasets/ns/name or a folder"):
        parse_target(written, Path())


def test_output_stands_in_for_the_target(tmp_path):
    """A recipe without a target is complete with --output, which also wins over one."""
    file = tmp_path / "mix.yaml"
    file.write_text(EXAMPLE)
    assert load_recipe(file, output="ns/else").target == "ns/else"
    assert parse_recipe(_edited("target: ns/finevision-mini", ""), output="hf://datasets/a/b").target == "a/b"
    assert load_recipe(file).sources[2].parquet_paths == (f"{tmp_path}/data/extra/*.parquet",)


def test_unreadable_files_are_one_line(tmp_path):
    """A missing file, a folder, bytes that are not UTF-8."""
    with pytest.raises(NotFoundError, match="does not exist; give the path of a YAML file"):
        load_recipe(tmp_path / "none.yaml")
    with pytest.raises(RecipeError, match="cannot read the recipe: Is a directory"):
        load_recipe(tmp_path)
    (tmp_path / "bad.yaml").write_bytes(b"\xef\xbb\xbfseed: 1\nname: \xff")
    with pytest.raises(RecipeError, match=r"bad.yaml:2:7: there is a byte that is not UTF-8"):
        load_recipe(tmp_path / "bad.yaml")


def test_the_table_of_keys_is_the_reader():
    """Each documented key is read, and each key that is read is documented, with an example that works."""
    assert [k.name for k in RECIPE_KEYS if k.scope == "recipe"] == list(recipe_module._recipe_readers(Path(), {}))
    assert [k.name for k in RECIPE_KEYS if k.scope == "source"] == list(recipe_module._source_readers(Path()))
    for key in RECIPE_KEYS:
        assert key.meaning
        if key.scope == "recipe":
            text = f"{key.name}: {key.example}\n" if key.name != "sources" else ""
            text += "" if key.name == "target" else "target: ns/x\n"
            parse_recipe(text + "sources:\n- {dataset: ns/x, weight: 1}")
        else:
            base = {"dataset": "", "parquet": ""}.get(key.name, "dataset: ns/x\n    ")
            parse_recipe(f"target: ns/x\nsources:\n  - {base}{key.name}: {key.example}")


RECIPES = st.fixed_dictionaries(
    {
        "target": st.sampled_from(["ns/x", "/out"]),
        "sources": st.lists(
            st.fixed_dictionaries(
                {"dataset": st.sampled_from(["ns/a", "ns/b"])},
                optional={
                    "split": st.sampled_from(["train", "test"]),
                    "where": st.sampled_from(["a > 1", "b like 'x%'"]),
                    "take": st.integers(1, 2**63 - 1) | st.floats(0, 1, exclude_min=True),
                    "repeat": st.integers(1, 9) | st.floats(0.001, 1e6),
                    "columns": st.dictionaries(
                        st.text("ab: é'\"#", min_size=1).filter(str.strip), st.just("x + 1"), min_size=1
                    ),
                },
            ),
            min_size=1,
            max_size=4,
        ),
    },
    optional={
        "seed": st.integers(0, 2**63 - 1),
        "shuffle": st.sampled_from(["blocks", "rows", "none"]),
        "shard_bytes": st.integers(64_000, 2**62),
        "private": st.booleans(),
        "split": st.sampled_from(["train", "validation.a"]),
    },
)


@settings(deadline=None)
@given(RECIPES)
def test_a_valid_recipe_is_read_as_written(written):
    """What is dumped as YAML comes back, value by value."""
    recipe = parse_recipe(yaml.safe_dump(written, allow_unicode=True))
    for key, value in written.items():
        if key != "sources":
            assert getattr(recipe, key) == value
    for source, wanted in zip(recipe.sources, written["sources"], strict=True):
        for key, value in wanted.items():
            expected = tuple(sorted(value.items())) if key == "columns" else value
            got = getattr(source, key)
            assert (tuple(sorted(got)) if key == "columns" else got) == expected
            assert not isinstance(value, float) or (isinstance(got, float) and math.isclose(got, value))


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
