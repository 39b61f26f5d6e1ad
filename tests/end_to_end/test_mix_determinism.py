"""One plan makes one mix: whatever fails on the way, however many tasks build it, and later, when it has grown."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from jobs import build_mix, exchange
from jobs.build_mix import build_with, plan_only
from jobs.plan_file import read_plan
from jobs.shards import _Joined
from jobs.show_mix import show_plan
from pipeline.errors import ConflictError, OptionError
from pipeline.mix.recipe import load_recipe
from tests.end_to_end.mix_sources import image_rows, in_blocks

pytestmark = pytest.mark.spark

RECIPE = """
shuffle: {shuffle}
seed: {seed}
shards: {shards}
block_rows: 8
target: {target}
source_column: {column}
sources:
"""
# Two sessions of other sizes, one after the other, in one process.
PROGRAM = """
import sys
from jobs import build_mix, exchange
from pipeline.mix.recipe import load_recipe
for master, piece_bytes, recipe in zip(*[iter(sys.argv[1:])] * 3):
    exchange._PIECE_BYTES = int(piece_bytes)
    built = build_mix.build_mix(load_recipe(recipe), master=master)
    print(*built.reports["train"]["per_shard"]["sha256"], flush=True)
"""


def _publish(repo, **files):
    """Commit files of rows in blocks to a dataset."""
    api = HfApi(token="hf_any")
    api.create_repo(repo, repo_type="dataset", exist_ok=True)
    adds = [CommitOperationAdd(f"data/train-{name}.parquet", data) for name, data in files.items()]
    api.create_commit(repo, adds, commit_message="Add rows", repo_type="dataset")


def _titles(repo):
    return [one.title for one in HfApi(token="hf_any").list_repo_commits(repo, repo_type="dataset")]


@pytest.fixture
def written(tmp_path):
    """A recipe on disk over sources, each as YAML."""
    numbers = iter(range(100))

    def write(*sources, target="./mix", shuffle="blocks", seed=3, shards=3, column="source"):
        path = tmp_path / f"{next(numbers)}.yaml"
        top = RECIPE.format(shuffle=shuffle, target=target, seed=seed, shards=shards, column=column)
        path.write_text(top + "".join(f"  - {source}\n" for source in sources))
        return path

    return write


@pytest.fixture
def two(repo):
    """Two datasets in blocks."""
    names = f"{repo}-one", f"{repo}-two"
    for place, name in enumerate(names):
        _publish(name, a=in_blocks(image_rows(1_000 * place, 160, 3_000), 8))
    return names


@pytest.mark.parametrize("shuffle", ["blocks", pytest.param("rows", marks=pytest.mark.long)])
def test_the_bytes_do_not_depend_on_tasks_or_their_failures(spark, hub, repo, two, written, monkeypatch, shuffle):
    """On one core, on two with a task that fails at its end, in eight tasks at a time, in pieces of any size: the same files."""
    sources = f"dataset: {two[0]}", f"{{dataset: {two[1]}, where: id % 5 <> 0, take: 70, repeat: 1.5}}"
    keys = {"shuffle": shuffle, "shards": 8}
    monkeypatch.setattr(exchange, "_PIECE_BYTES", 60_000)
    hub.faults.add("cas_shard", status=403, times=1)
    built = build_with(spark, load_recipe(written(*sources, target=repo, **keys)))
    assert _titles(repo) == ["Mix 265 rows of 2 sources, seed 3", "initial commit"]
    wanted = built.reports["train"]["per_shard"]["sha256"]
    assert len(set(wanted)) == 8
    runs = [
        word
        for master, piece in (("local[1]", "99999999"), ("local[8]", "20000"))
        for word in (master, piece, str(written(*sources, target=f"./{master}", **keys)))
    ]
    done = subprocess.run([sys.executable, "-c", PROGRAM, *runs], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line.split() for line in done.stdout.splitlines()] == [wanted, wanted]


def test_a_shard_that_two_tasks_built_counts_once(spark):
    """Speculation brings the same receipt twice: the last one is as good as the first."""
    stored = spark.sparkContext.accumulator([], _Joined())
    spark.sparkContext.parallelize([3, 3, 1], 3).foreach(lambda shard: stored.add([(shard, f"receipt {shard}")]))
    assert dict(stored.value) == {1: "receipt 1", 3: "receipt 3"}


@pytest.fixture
def planned(spark, monkeypatch, capsys, tmp_path):
    """Write a plan's file, and read it; builds use the session that is there."""

    @contextmanager
    def session(*_, **__):
        yield spark

    monkeypatch.setattr(build_mix, "spark_session", session)

    def plan(recipe, *, count=True):
        parsed = load_recipe(recipe)
        opened, made = plan_only(parsed, count=count)
        show_plan(parsed, opened, made, as_json=False, path=Path(tmp_path / "plan.json"), mode=None)
        return read_plan(tmp_path / "plan.json")

    return plan


def _apply(plan):
    return build_mix.build_mix(plan.recipe, apply=plan)


def test_a_plan_is_applied_once(hub, repo, two, written, planned):
    """What is built is the plan in the file; applied again it does nothing, though the target moved by it."""
    plan = planned(written(*(f"dataset: {name}" for name in two), target=repo))
    built = _apply(plan)
    assert (built.plan.id, built.repeated) == (plan.plan_id, False)
    commits = _titles(repo)
    hub.reset_counts()
    again = _apply(plan)
    assert (again.plan.id, again.repeated, again.commit) == (plan.plan_id, True, built.commit)
    assert _titles(repo) == commits
    assert hub.bytes_received()["cas_xorb_put"] == 0


def test_a_plan_is_refused_when_a_source_or_the_target_moved(repo, two, written, planned):
    """In one line that names what moved and both commits, before Spark starts; nothing is published."""
    plan = planned(written(*(f"dataset: {name}" for name in two), target=repo))
    _publish(two[1], b=in_blocks(image_rows(7_000, 8, 3_000), 8))
    source = two[1].split("/")[1]
    with pytest.raises(ConflictError, match=rf"source '{source}' was planned at \w{{8}} and is at \w{{8}} now; .*\Z"):
        _apply(plan)
    assert not HfApi(token="hf_any").repo_exists(repo, repo_type="dataset")
    plan = planned(written(*(f"dataset: {name}" for name in two), target=repo))
    _publish(repo, a=in_blocks(image_rows(9_000, 8, 3_000), 8))
    with pytest.raises(ConflictError, match=rf"target '{repo}' was planned at no commit and is at \w{{8}} now; .*\Z"):
        _apply(plan)
    assert _titles(repo) == ["Add rows", "initial commit"]


def test_a_plan_with_upper_bounds_is_not_applied(repo, two, written, planned):
    """It says how to make one that can be."""
    with pytest.raises(OptionError, match=r"has upper bounds instead of counts; make it again with .*--count'\Z"):
        planned(written(f"{{dataset: {two[0]}, where: id % 7 <> 3}}", target=repo), count=False)


def test_a_mix_that_grows_uploads_what_is_new(spark, repo, written):
    """One more source, more rows in one, another share of one: new bytes are those of the new rows, and a few percent for pads
    and footers.
    """
    row_bytes, rows = 40_000, 128
    names = [f"{repo}-{n}" for n in range(3)]
    for place, name in enumerate(names):
        _publish(name, a=in_blocks(image_rows(10_000 * place, rows, row_bytes), 8))

    def uploaded(*sources):
        recipe = load_recipe(written(*sources, target=repo, column="false"))
        size = build_with(spark, recipe, mode=build_mix.Mode.OVERWRITE).reports["train"]["bytes"]
        return size["uploaded"] / size["published"]

    first, second, third = (f"dataset: {name}" for name in names)
    assert uploaded(first, second) < 0.03
    assert uploaded(first, second, third) < 0.03  # it is in this Hub's storage
    assert uploaded(f"{{dataset: {names[0]}, repeat: 2}}", second, third) < 0.03
    _publish(names[1], b=in_blocks(image_rows(50_000, 16, row_bytes), 8))
    assert uploaded(first, second, third) < 0.03
    plain = written("parquet: new.parquet", target=repo).with_name("new.parquet")
    plain.write_bytes(in_blocks(image_rows(60_000, 32, row_bytes), 8))
    share = 32 / (3 * rows + 16 + 32)
    assert share * 0.95 < uploaded(first, second, third, "parquet: new.parquet") < share + 0.03
