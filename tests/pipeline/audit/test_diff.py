"""What changed between two commits, on a real Hub: of mixes as builds leave them, and of datasets that are none."""

import json

import pyarrow as pa
import pytest

from pipeline.audit.diff import diff_versions, open_version
from pipeline.audit.diff_values import BlockChanges, FileChanges, Side, SourceChange
from pipeline.audit.settings import Setting
from pipeline.errors import NotFoundError
from pipeline.hub.history import find_commit
from pipeline.hub.repo import parse_ref
from pipeline.hub.transactions import TRANSACTIONS, Record, write_records

RUNS = [(0, "a", "a1", 10), (0, "b", "b1", 10), (1, "a", "a2", 10), (1, "b", "b2", 10)]


@pytest.fixture
def changes(hub):
    """Compare two revisions of a repo, or two repos; the only split's difference unless more are asked for."""

    def compare(before, after, **options):
        refs = (parse_ref(text, endpoint=hub.endpoint) for text in (before, after))
        found = diff_versions(*(open_version(ref, None) for ref in refs), None, **options)
        assert json.loads(json.dumps(found.values()))["before"].count("@") == 1
        return found.splits

    return compare


def _head(ref):
    return find_commit(ref, None, "2999-01-01")


def _recipe(weight, **source):
    return json.dumps({"target": "x", "sources": [{"name": "a", "weight": weight}, {"name": "b", **source}]})


def test_a_rebuilt_mix_is_told_by_rows_shares_recipe_and_blocks(repo, put_mix, changes):
    """A block moves, one goes, two come of a new source; a weight and a commit differ; one file of two is kept."""
    first = _head(put_mix(repo, RUNS, seed=1, recipe=_recipe(1), writers={"pyarrow": "26"}))
    again = [*RUNS[:2], (1, "b", "b2", 10), (1, "c", "c1", 25), (1, "c", "c2", 15)]
    put_mix(repo, again, seed=1, recipe=_recipe(2, where="x > 1"), writers={"pyarrow": "27"})
    (one,) = changes(f"{repo}@{first[:7]}", repo)
    assert (one.before.rows, one.after.rows, one.before.files, one.after.files) == (40, 70, 2, 2)
    assert (one.files.kept, one.files.new, one.files.gone) == (1, 1, 1)
    assert one.files.bytes_new > 0
    assert one.blocks == BlockChanges(kept=3, moved=1, added=2, removed=1)
    assert one.sources[0] == SourceChange(
        source="a", rows_before=20, rows_after=10, share_before=0.5, share_after=10 / 70
    )
    assert one.sources[2] == SourceChange(
        source="c", rows_before=None, rows_after=40, share_before=None, share_after=40 / 70
    )
    assert one.settings == (
        Setting(key="sources.a.weight", before=1, after=2),
        Setting(key="writers.pyarrow", before="26", after="27"),
        Setting(key="sources.b.where", before=None, after="x > 1"),
    )


def test_repeated_blocks_count_as_often_as_they_are_there(repo, put_mix, changes):
    """Two copies of a block where there were three: two are kept, one is removed; the order of the others is not looked at."""
    runs = [(0, "a", "a1", 5)] * 3 + [(0, "b", "b1", 5)]
    first = _head(put_mix(repo, runs))
    put_mix(repo, [(0, "b", "b1", 5), (0, "a", "a1", 5), (0, "a", "a1", 5)])
    (one,) = changes(f"{repo}@{first}", repo)
    assert one.blocks == BlockChanges(kept=3, moved=1, added=0, removed=1)


def test_what_was_appended_counts_with_what_it_was_added_to(repo, put, put_mix, parquet_bytes, changes):
    """The tables of blocks of both builds are one, and so are the rows of their sources."""
    first = _head(put_mix(repo, RUNS, seed=1))
    table = pa.table({"shard": pa.array([0], pa.int32()), "row": pa.array([0], pa.int64()), "name": ["c1"]})
    added = {
        ".pipeline/writes/default/train/s2.json": json.dumps({"seed": 2, "sources": [{"name": "a", "drawn": 5}]}),
        "mix/default/train/s2/blocks.parquet": parquet_bytes(table),
        "data/train-s2-00000-of-00001.parquet": parquet_bytes({"source": ["a"] * 5}),
        "README.md": "---\nconfigs:\n- {config_name: default, data_files: [{split: train, path: data/train-*}]}\n---\n",
    }
    put(repo, added)
    (one,) = changes(f"{repo}@{first}", repo)
    assert one.blocks == BlockChanges(kept=4, moved=0, added=1, removed=0)
    assert [(each.source, each.rows_before, each.rows_after) for each in one.sources] == [("a", 20, 25), ("b", 20, 20)]
    assert [setting.key for setting in one.settings] == ["append 1: seed"]


def test_the_same_commit_has_no_changes(repo, put_mix, changes):
    """Nothing came, went or moved."""
    put_mix(repo, RUNS, seed=1)
    (one,) = changes(repo, f"{repo}@main")
    assert one.before == one.after
    assert one.files == FileChanges(kept=2, new=0, gone=0, bytes_new=0, uploaded=None)
    assert (one.blocks, one.settings, one.columns) == (BlockChanges(kept=4, moved=0, added=0, removed=0), (), ())


def test_two_repos_share_files_by_content(repo, put, parquet_bytes, changes):
    """Files of the same bytes are kept whatever they are called; columns that differ are named with both types."""
    same = parquet_bytes({"id": [1, 2]})
    put(repo, {"data/train-00000-of-00001.parquet": same})
    put(f"{repo}-2", {"data/train-a.parquet": same, "data/train-b.parquet": parquet_bytes({"id": ["x"], "n": [1.5]})})
    (one,) = changes(repo, f"{repo}-2")
    assert one.before == Side(rows=2, files=1, bytes=len(same))
    assert (one.after.rows, one.files.kept, one.files.new, one.files.gone) == (3, 1, 1, 0)
    assert one.columns == (
        Setting(key="id", before="int64", after="int64 / string"),
        Setting(key="n", before=None, after="double"),
    )
    assert (one.sources, one.settings, one.blocks) == ((), (), None)


def test_splits_come_and_go(repo, put, parquet_bytes, changes):
    """A split that only one side has is compared with nothing, and can be asked for alone."""
    data = parquet_bytes({"id": [1, 2]})
    first = _head(put(repo, {"data/train-0.parquet": data}))
    put(repo, {"data/test-0.parquet": data})
    splits = changes(f"{repo}@{first}", repo)
    assert [(one.split, one.before is None, one.after is None) for one in splits] == [
        ("train", False, False),
        ("test", True, False),
    ]
    assert [one.split for one in changes(repo, f"{repo}@{first}", split="test")] == ["test"]
    with pytest.raises(
        NotFoundError, match=r"no split 'val' of config '\*'; those that exist: default/train, default/test"
    ):
        changes(f"{repo}@{first}", repo, split="val")


def test_what_was_uploaded_is_what_the_commits_in_between_say(repo, put, parquet_bytes, changes):
    """Two writes of the split since: their new bytes, together, and not those of another split."""
    records = [
        Record(id=f"t{n}", parent=f"{n}", config="default", split="test" if n == 3 else "train", new_bytes=10**n)
        for n in range(5)
    ]

    def write(number):
        file = {f"data/train-{number}.parquet": parquet_bytes({"id": [number]})}
        return put(repo, file | {TRANSACTIONS: write_records(records[:number])})

    first = _head(write(1))
    write(5)
    (one,) = changes(f"{repo}@{first}", repo)
    assert (one.files.kept, one.files.new, one.files.uploaded) == (1, 1, 10 + 100 + 10_000)


def test_a_revision_that_is_not_there_is_said(repo, put, parquet_bytes, changes):
    """A branch, and a sha that no commit begins with."""
    put(repo, {"data/train-0.parquet": parquet_bytes({"id": [1]})})
    for revision in ("v9", "0000000"):
        with pytest.raises(NotFoundError, match="no such revision"):
            changes(f"{repo}@{revision}", repo)
