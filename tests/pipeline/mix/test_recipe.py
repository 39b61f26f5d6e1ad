"""What a recipe may say, and where an error points."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import NotFoundError, OptionError, RecipeError
from pipeline.mix.recipe import RECIPE_KEYS, Recipe, Source, load_recipe, parse_recipe, parse_target
from pipeline.mix.recipe_reader import recipe_readers, source_readers
from pipeline.mix.recipe_text import recipe_text
from tests.pipeline.mix.recipe_example import EXAMPLE


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
        ("hf://buckets/ns/name", "hf://buckets/ns/name"),
    ],
)
def test_a_target_is_a_repo_or_a_folder(written, target):
    """Repos lose their prefix; folders begin with / or a dot, so that the two cannot be confused."""
    assert parse_target(written, Path("conf")) == target


@pytest.mark.parametrize(
    "written",
    [
        "name",
        "a/b/c",
        "ns/a..b",
        "s3://b/k",
        "hf://datasets/ns",
        "hf://buckets/ns/a/b",
        "ns/name@rev",
        "",
        "ns/",
        "x y",
    ],
)
def test_other_targets_are_refused(written):
    """What is neither says what would be."""
    with pytest.raises(
        OptionError, match="target must be ns/name, hf://datasets/ns/name, hf://buckets/ns/name or a folder"
    ):
        parse_target(written, Path())


def test_output_stands_in_for_the_target(tmp_path):
    """A recipe without a target is complete with --output, which also wins over one."""
    file = tmp_path / "mix.yaml"
    file.write_text(EXAMPLE)
    assert load_recipe(file, output="ns/else").target == "ns/else"
    assert parse_recipe(EXAMPLE.replace("target: ns/finevision-mini", ""), output="hf://datasets/a/b").target == "a/b"
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
    assert [k.name for k in RECIPE_KEYS if k.scope == "recipe"] == list(recipe_readers(Path(), {}))
    assert [k.name for k in RECIPE_KEYS if k.scope == "source"] == list(source_readers(Path()))
    for key in RECIPE_KEYS:
        assert key.meaning
        base = {"target": "", "sources": ""}.get(key.name, "target: ns/x\n")
        if key.scope == "recipe":
            weighted = "{dataset: ns/x, weight: 1}" if key.name == "total_rows" else "{dataset: ns/x}"
            listed = "" if key.name == "sources" else f"sources:\n- {weighted}"
            text = f"{key.name}:\n{key.example}" if key.name == "sources" else f"{key.name}: {key.example}"
            parse_recipe(f"{base}{text}\n{listed}", output="ns/x" if key.name == "sources" else None)
        else:
            first = "" if key.name in {"dataset", "parquet"} else "dataset: ns/x\n    "
            weight = "\n    weight: 1" if key.name == "max_repeat" else ""
            parse_recipe(f"target: ns/x\nsources:\n  - {first}{key.name}: {key.example}{weight}")


NAMES = st.text("ab: é'\"#", min_size=1).filter(str.strip)
TYPES = st.dictionaries(NAMES, st.sampled_from(["int64", "array<string>", "timestamp[us, tz=UTC]"]), min_size=1)
TYPES = TYPES.map(lambda types: tuple(types.items()))
MADE_OF = st.sampled_from(["x + 1", "a.b", "1", "null", "true", "'x: #'", "2026-01-31", "~"])
SHARES = st.integers(1, 99).map(lambda n: (("train", n / 100), ("held.out", 1 - n / 100)))
QUANTITIES = {"take": st.integers(1, 2**63 - 1) | st.floats(0, 1, exclude_min=True), "repeat": st.floats(0.001, 1e6)}
SIZES = st.integers(64_000, 2**62)


def _source_strategy(quantities):
    return st.fixed_dictionaries(
        {"dataset": st.sampled_from(["ns/a", "ns/b"])} | quantities.get("all", {}),
        optional={
            "config": st.sampled_from(["*", "en"]),
            "split": st.sampled_from(["train", "test"]),
            "revision": st.sampled_from(["v1", "1.0", "refs/pr/1"]),
            "where": st.sampled_from(["a > 1", "b like 'x%'"]),
            "columns": st.dictionaries(NAMES, MADE_OF, min_size=1).map(lambda found: tuple(found.items())),
            "map": st.just("pkg.mod:f") | st.just((("a", "upper(a)"), ("b", "null"))),
            "cast": TYPES,
            "copy": st.sampled_from(["auto", "never"]),
        }
        | quantities.get("some", {}),
    )


def _recipe_strategy(quantities, **keys):
    optional = {
        "seed": st.integers(0, 2**63 - 1),
        "shuffle": st.sampled_from(["blocks", "rows", "none"]),
        "block_bytes": SIZES,
        "private": st.booleans(),
        "source_row_column": st.just("row: no"),
        "source_column": st.none() | st.just("from"),
        "dedup_by": st.just(("*",)) | st.just(("a", "b: c")),
        "columns": st.just((("a", "int"), ("b: c", "struct<x: int, y: list<string>>"))),
    }
    sources = st.lists(_source_strategy(quantities), min_size=1, max_size=4)
    fixed = {"target": st.sampled_from(["ns/x", "/out", "hf://buckets/ns/b"]), "sources": sources}
    return st.fixed_dictionaries(fixed | keys, optional=optional)


RECIPES = st.one_of(
    _recipe_strategy({"some": QUANTITIES}, shard_bytes=SIZES, split=st.sampled_from(["train", "validation.a"])),
    _recipe_strategy({"all": {"weight": st.floats(1e-9, 1e9)}}, total_rows=st.integers(1, 2**63 - 1), splits=SHARES),
    _recipe_strategy(
        {"some": {"max_repeat": st.floats(1, 9)}}, temperature=st.floats(0.1, 9), shards=st.integers(1, 9)
    ),
)


@settings(deadline=None, max_examples=60)
@given(RECIPES)
def test_a_recipe_reads_as_it_is_written(written):
    """Any recipe, written as YAML, is read as the same recipe: every key of every source."""
    sources = tuple(Source(name=f"s{n}", **source) for n, source in enumerate(written["sources"]))
    recipe = Recipe(**{**written, "sources": sources})
    back = parse_recipe(recipe_text(recipe))
    same = tuple(replace(source, position=(1, 1)) for source in back.sources)
    assert replace(back, sources=same, positions=()) == recipe


def test_the_place_of_a_value_is_known_for_sources_that_were_made_of_one():
    """A source that stands for one of several configs has the place of the one that was written."""
    recipe = parse_recipe("target: ns/x\nsources:\n- dataset: ns/a\n- dataset: ns/b\n  config: '*'\n  where: a > 1\n")
    one, two = recipe.sources
    made = replace(two, config="en", name="b-en")
    assert recipe.place_of(made, "where") == "mix.yaml:6:3"
    assert recipe.place_of(made, "columns.x") == recipe.place_of(made) == "mix.yaml:4:3"
    assert recipe.place_of(one) == "mix.yaml:3:3"


def test_constants_may_be_written_as_what_they_are():
    """Numbers, booleans and null need no quotes to be SQL constants; text is a column or SQL."""
    (source,) = _sources("  - {dataset: ns/a, columns: {a: 1, b: -2.5, c: null, d: yes, e: 'a.b', f: 1_000, '*': '*'}}")
    assert source.columns == (
        ("a", "1"),
        ("b", "-2.5"),
        ("c", "null"),
        ("d", "true"),
        ("e", "a.b"),
        ("f", "1000"),
        ("*", "*"),
    )
    assert _sources("  - {dataset: ns/a, columns: [a, '*']}")[0].columns == (("a", "a"), ("*", "*"))


def test_every_kind_of_quantity_and_share_is_read():
    """Percent and fractions are the same share; splits make up one, also where floats do not quite."""
    recipe = parse_recipe("target: ns/x\nsplits: {a: 70%, b: 0.2, c: 0.1}\nsources: [{dataset: ns/a, take: 2.5%}]")
    assert recipe.splits == (("a", 0.7), ("b", 0.2), ("c", 0.1))
    assert recipe.sources[0].take == 0.025
    thirds = "target: ns/x\nsplits: {a: 0.3333333333, b: 0.3333333333, c: 0.3333333333}\nsources: [{dataset: ns/a}]"
    assert len(parse_recipe(thirds).splits) == 3
