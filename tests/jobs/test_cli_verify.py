"""`pipeline verify` as people run it, on mixes that `pipeline build-mix` built of datasets on a real Hub."""

import io
import json

import pyarrow as pa
import pytest
from click.testing import CliRunner
from pyarrow import parquet as pq

from jobs.build_mix import build_with
from jobs.cli import main
from pipeline.hub.split import Mode
from pipeline.mix.recipe import parse_recipe

pytestmark = pytest.mark.spark
SHARD = "data/train-00001-of-00002.parquet"


@pytest.fixture
def run():
    """Run `pipeline verify`: (exit code, stdout, stderr)."""

    def call(*args):
        done = CliRunner().invoke(main, ["verify", *args])
        return done.exit_code, done.stdout, done.stderr

    return call


@pytest.fixture
def api(hub):
    """Anybody's client of the Hub."""
    from huggingface_hub import HfApi

    return HfApi(endpoint=hub.endpoint, token="hf_any")


@pytest.fixture
def put(api):
    """Commit a table to a dataset, which is made when there is none."""

    def commit(repo, table, path="data/train-0.parquet"):
        sink = io.BytesIO()
        pq.write_table(table, sink, row_group_size=40)
        api.create_repo(repo, repo_type="dataset", exist_ok=True)
        api.upload_file(path_or_fileobj=sink.getvalue(), path_in_repo=path, repo_id=repo, repo_type="dataset")

    return commit


@pytest.fixture
def build(spark, hub, repo, put, tmp_path):
    """Build a mix of two datasets; `keys` are those of the recipe, `source` more of those of its first source; its name."""

    def make(keys, source="", **options):
        for name in "ab":
            put(f"{repo}-{name}", pa.table({"n": range(800), "text": [f"{name} {i % 500}" for i in range(800)]}))
        (tmp_path / "mix.yaml").write_text(
            f"target: {repo}\n{keys}\nsources:\n- dataset: {repo}-a\n  name: a\n{source}- dataset: {repo}-b\n  name: b\n"
        )
        recipe = parse_recipe((tmp_path / "mix.yaml").read_text(), str(tmp_path / "mix.yaml"))
        build_with(spark, recipe, endpoint=hub.endpoint, **options)
        return repo

    return make


def _flip(api, put, repo, row):
    """Publish a shard again with one row changed; the row's source."""
    table = pq.read_table(api.hf_hub_download(repo, SHARD, repo_type="dataset"))
    texts = table["text"].to_pylist()
    texts[row] = "flipped"
    put(repo, table.set_column(table.schema.get_field_index("text"), "text", pa.array(texts)), SHARD)
    return table["source"][row].as_py()


@pytest.mark.parametrize("shuffle", ["blocks", "rows"])
def test_a_good_mix_passes_and_a_flipped_row_is_found(run, api, put, build, shuffle):
    """Equal, exit code 0; after a shard was published again, exit code 1 with its file, its row and its source alone."""
    repo = build(f"shuffle: {shuffle}\nshards: 2")
    code, out, err = run(repo)
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == "equal: 1,600 rows are those of the sources"
    assert ("compared block by block" if shuffle == "blocks" else "compared by sums of") in out
    assert "note:" not in out
    name = _flip(api, put, repo, 33)
    code, out, err = run(repo, "--json")
    assert (code, err) == (1, "")
    (split,) = json.loads(out)["splits"]
    assert [problem.split(":")[0] for problem in split["problems"]] == [f"{SHARD} is not the shard 1 that was built"]
    differences = {one["source"]: one["difference"] for one in split["sources"]}
    assert (differences[name]["shard"], differences[name]["row"]) == (1, 33)
    assert [one for other, one in differences.items() if other != name] == [None]
    assert run(repo)[1].splitlines()[-1] == "NOT equal"


def test_sources_that_moved_on_are_read_at_their_commits(run, put, build):
    """What a source has today does not matter: the mix is of what it had."""
    repo = build("shuffle: blocks")
    put(f"{repo}-a", pa.table({"n": [1], "text": ["other"]}))
    assert run(repo)[0] == 0


@pytest.mark.parametrize("shuffle", ["blocks", "rows"])
def test_what_the_recipe_does_to_rows_is_done_again(run, build, shuffle):
    """Filtered, renamed, cast, without duplicates, repeated, in two splits: equal."""
    keys = f"shuffle: {shuffle}\nsplits: {{train: 0.7, test: 0.3}}\ndedup_by: [text]\nseed: 5"
    repo = build(
        keys, "  columns: {text: text, number: n}\n  cast: {number: int32}\n  where: n % 3 <> 0\n  repeat: 1.5\n"
    )
    code, out, err = run(repo, "--json")
    assert (code, err) == (0, "")
    assert {one["split"] for one in json.loads(out)["splits"]} == {"train", "test"}
    assert run(repo, "--split", "test")[1].count("config default") == 1


def test_what_was_appended_is_a_build_of_its_own(run, build):
    """Each build of a split is compared with its own recipe, in its own files."""
    repo = build("shuffle: blocks\nseed: 1")
    build("shuffle: rows\nseed: 2", "  take: 100\n", mode=Mode.APPEND)
    code, out, err = run(repo, "--json")
    assert (code, err) == (0, "")
    splits = json.loads(out)["splits"]
    assert [(one["split"], one["rows"], one["problems"]) for one in splits] == [("train", 1600, []), ("train", 900, [])]


def test_code_that_a_recipe_names_runs_only_when_it_is_allowed(run, build, tmp_path, monkeypatch):
    """Without --allow-code one line says so; with it, the function is looked for in this folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "verified_rows.py").write_text("def odd(batch):\n    return batch.filter(batch['n'].cast('bool'))\n")
    repo = build("shuffle: blocks", "  map: verified_rows:odd\n", allow_code=True)
    code, out, err = run(repo)
    assert (code != 0, out, err.count("\n")) == (True, "", 1)
    assert "--allow-code" in err
    assert run(repo, "--allow-code")[0] == 0


def test_files_outside_the_hub_are_read_only_when_that_is_allowed(run, spark, hub, repo, tmp_path):
    """A repo must not make this machine read its own files."""
    pq.write_table(pa.table({"n": range(50)}), tmp_path / "a.parquet")
    recipe = parse_recipe(f"target: {repo}\nsources:\n- parquet: {tmp_path}/a.parquet\n", str(tmp_path / "mix.yaml"))
    build_with(spark, recipe, endpoint=hub.endpoint)
    code, out, err = run(repo)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "which is not on the Hub; pass --allow-files" in err
    assert run(repo, "--allow-files")[0] == 0


def test_what_is_no_mix_ends_in_one_line(run, repo, put, api):
    """A dataset that somebody else wrote, a build that recorded no recipe, a record that is none."""
    put(repo, pa.table({"n": [1]}))
    for record, message in (
        (None, "no build of a mix is recorded"),
        (b'{"sources": [{"name": "a"}]}', "records no recipe"),
        (b'{"sources": 7}', "not the record of a build that we wrote"),
    ):
        if record:
            path = ".pipeline/writes/default/train/t.json"
            api.upload_file(path_or_fileobj=record, path_in_repo=path, repo_id=repo, repo_type="dataset")
        code, out, err = run(repo)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert message in err
