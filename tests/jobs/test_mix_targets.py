"""What a plan knows of its sources and its target: that they are still what they were, and who may see them."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from jobs import mix_opening
from jobs.build_mix import plan_only
from jobs.mix_opening import open_all
from jobs.plan_file import check_applies, read_plan, write_plan
from jobs.target import open_target
from pipeline.errors import AccessError, ConflictError, CorruptFileError, OptionError
from pipeline.mix.block_footers import read_block_footers
from pipeline.mix.recipe import parse_recipe
from pipeline.mix.sources import decide_copies
from pipeline.parquet.features import KEY
from pipeline.parquet.footer import read_footer
from pipeline.storage import expand

TEXT = "shuffle: blocks\nsources:\n  - {parquet: a.parquet, name: a}\n"


def _write(path, values, changed_ns):
    """A file whose footer tells nothing of its values."""
    plain = {"use_dictionary": False, "write_statistics": False, "compression": "none"}
    pq.write_table(pa.table({"n": pa.array(values, pa.int64())}), path, row_group_size=2, **plain)
    os.utime(path, ns=(changed_ns, changed_ns))


def _recipe(folder, text=TEXT):
    return parse_recipe(text, str(folder / "mix.yaml"), str(folder / "out"))


def test_a_file_written_anew_with_the_same_footer_is_another_plan(tmp_path):
    """Size and time are in the plan's id, the place is not; a build with the old plan refuses."""
    path = tmp_path / "a.parquet"
    _write(path, [1, 2, 3], 10**18)
    _, plan = plan_only(_recipe(tmp_path))
    before = read_footer(*expand([str(path)]), None)
    _write(path, [1, 2, 4], 10**18 + 1)
    assert read_footer(*expand([str(path)]), None) == before
    assert plan_only(_recipe(tmp_path))[1].id != plan.id
    (split,) = plan.splits
    with pytest.raises(CorruptFileError, match="is not the file that was planned with"):
        read_block_footers(split, split.blocks, None)
    (tmp_path / "moved").mkdir()
    _write(tmp_path / "moved/a.parquet", [1, 2, 3], 10**18)
    assert plan_only(_recipe(tmp_path / "moved"))[1].id == plan.id


def test_blocks_are_read_with_the_row_groups_that_they_need(tmp_path):
    """Of a file's footer no more is kept."""
    _write(tmp_path / "a.parquet", list(range(8)), 10**18)
    (split,) = plan_only(_recipe(tmp_path, f"block_rows: 2\n{TEXT}"))[1].splits
    some = [block for block in split.blocks if block.start in (2, 6)]
    (footer,) = read_block_footers(split, some, None).values()
    assert footer.kept == (1, 3)


def test_a_plan_is_not_applied_to_a_folder_that_has_other_files_now(tmp_path):
    """A folder has no commit, so the plan remembers its files."""
    _write(tmp_path / "a.parquet", [1, 2, 3], 10**18)
    recipe = _recipe(tmp_path)
    opened, plan = plan_only(recipe)
    write_plan(tmp_path / "plan.json", recipe, opened, plan, {}, None)
    known = read_plan(tmp_path / "plan.json")
    check_applies(known, open_all(recipe, None, None))
    (tmp_path / "out/data").mkdir(parents=True)
    _write(tmp_path / "out/data/train-00000-of-00001.parquet", [1], 10**18)
    (tmp_path / "out/README.md").write_text("---\nconfigs:\n- {config_name: default, data_files: data/*}\n---\n")
    with pytest.raises(ConflictError, match="has other files than it had"):
        check_applies(known, open_all(recipe, None, None))


def test_a_plan_with_a_mode_that_is_none_is_refused(tmp_path):
    """A plan's file can be changed by hand."""
    _write(tmp_path / "a.parquet", [1, 2, 3], 10**18)
    recipe = _recipe(tmp_path)
    write_plan(tmp_path / "plan.json", recipe, *plan_only(recipe), {}, None)
    values = json.loads((tmp_path / "plan.json").read_text())
    values["apply"]["mode"] = "replace"
    (tmp_path / "plan.json").write_text(json.dumps(values))
    with pytest.raises(OptionError, match=r"is no plan .*replace"):
        read_plan(tmp_path / "plan.json")


@pytest.mark.parametrize(("record", "held"), [(1, True), (2, False), ("broken", False), ("[]", False), ("\xff", False)])
def test_a_record_counts_while_each_of_its_files_is_there(tmp_path, record, held):
    """Two files of one size are two; a damaged record tells nothing, and stops nobody."""
    out = tmp_path / "out"
    (out / "data").mkdir(parents=True)
    _write(file := out / "data/train-00000-of-00001.parquet", [1], 10**18)
    (out / "README.md").write_text("---\nconfigs:\n- {config_name: default, data_files: data/*}\n---\n")
    (out / ".pipeline/writes/default/train").mkdir(parents=True)
    made = {
        "plan_id": "p",
        "split": "train",
        "files": [{"size": file.stat().st_size}] * (record if record in (1, 2) else 0),
    }
    text = json.dumps(made) if isinstance(record, int) else record
    (out / ".pipeline/writes/default/train/0.json").write_bytes(text.encode("latin-1"))
    assert open_target(_recipe(tmp_path), None, None).holds("p") is held


def test_a_file_that_says_something_else_of_its_columns_is_not_copied_whole(tmp_path):
    """Its features would stand against the mix's; nor is one whose columns change places."""
    feature = {"n": {"dtype": "int64", "_type": "Value"}}
    metadata = {KEY: json.dumps({"info": {"features": feature}})}
    pq.write_table(pa.table({"n": [1], "m": [2]}).replace_schema_metadata(metadata), tmp_path / "a.parquet")

    def unchanged(features, columns="{n: n, m: m}"):
        text = f"source_column: false\nsources:\n  - {{parquet: a.parquet, name: a, columns: {columns}}}\n"
        recipe = _recipe(tmp_path, text)
        opened = open_all(recipe, None, None)
        on_hub = [mix_opening.replace(source, on_hub=True) for source in opened.sources]
        schema = pa.schema([("n", pa.int64()), ("m", pa.int64())])
        return decide_copies(recipe, on_hub, schema, whole_files=True, features=features)[0].unchanged

    assert unchanged(feature)
    assert not unchanged({"n": {"names": ["x", "y"], "_type": "ClassLabel"}})
    assert not unchanged(feature, "{n: m, m: n}")


def test_a_private_repo_is_named_by_its_id_however_its_files_are(monkeypatch):
    """`public` takes repo ids, also where the source is a path in a repo; the error says which."""
    told = SimpleNamespace(private=True, gated=False, license=None)
    monkeypatch.setattr(mix_opening.facts, "repo_facts", lambda ref, token: told)
    monkeypatch.setattr(mix_opening, "replace", lambda source, **_: source)
    text = "target: ns/out\nsources:\n  - {parquet: 'hf://datasets/ns/closed/data/*.parquet', name: a}\n"
    recipe = parse_recipe(text, str(Path("mix.yaml")))
    _, restricted = mix_opening._governed(recipe, [object()], None, None)
    assert restricted == ("ns/closed",)
    told.private = False
    target = SimpleNamespace(ref=object(), new=False, token=None)
    with pytest.raises(AccessError, match=r"ns/closed is private or gated.*'public: \[ns/closed\]'"):
        mix_opening._kept_private(recipe, target, restricted)
    open_recipe = parse_recipe(f"public: [ns/closed]\n{text}", str(Path("mix.yaml")))
    assert mix_opening._kept_private(open_recipe, target, restricted) is open_recipe
