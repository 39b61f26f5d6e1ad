"""Datasets that are not Parquet in a mix: the same rows as in plain Python, whatever happens to them on their way."""

import gzip
import io
import json
import pickle
import tarfile
from dataclasses import dataclass, replace

import pyarrow as pa
import pytest
from PIL import Image

from pipeline.errors import CorruptFileError, NotFoundError
from pipeline.mix import survey as surveys
from pipeline.mix import task_files
from pipeline.mix.build import read_blocks
from pipeline.mix.count_cache import load_found, store_found
from pipeline.mix.counting import conclude, survey_run
from pipeline.mix.pieces import POSITION, pieces_of, read_drawn
from pipeline.mix.plan import align_mix, plan_mix
from pipeline.mix.provenance import read_blocks as read_provenance
from pipeline.mix.provenance import write_blocks
from pipeline.mix.recipe import parse_recipe
from pipeline.mix.sources import decide_copies, open_source
from pipeline.mix.survey import plan_survey

WORDS = ["", "a", 'say "b, c"', "two\nlines", "é"]


def _png(number):
    sink = io.BytesIO()
    Image.new("RGB", (3, 2), (number, 2 * number, 3)).save(sink, "PNG")
    return sink.getvalue()


def _tar(samples):
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for name, content in samples:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return sink.getvalue()


def _csv(rows):
    quoted = (f'{row["id"]},"{row["text"].replace(chr(34), 2 * chr(34))}"\n' for row in rows)
    return "id,text\n" + "".join(quoted)


def _arrow(rows):
    sink = io.BytesIO()
    batch = pa.RecordBatch.from_pylist(rows)
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def _rows(start, count):
    return [{"id": n, "text": WORDS[n % 5] or f"row {n}"} for n in range(start, start + count)]


def _lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


ROWS = {
    "csv": _rows(0, 70),
    "jsonl": _rows(1000, 90),
    "text": [{"text": f"line {n}"} for n in range(40)],
    "arrow": _rows(2000, 30),
    "tar": [{"json": {"n": n}, "png": {"bytes": _png(n), "path": f"{n:02d}.png"}} for n in range(20)],
    "images": [{"image": {"bytes": _png(n), "path": f"{n:02d}.png"}, "label": n // 20} for n in range(40)],
    "parquet": _rows(3000, 50),
}


def _files(name, parquet_bytes):
    rows = ROWS[name]
    return {
        "csv": lambda: {"train-0.csv": _csv(rows[:40]), "train-1.csv": gzip.compress(_csv(rows[40:]).encode())},
        "jsonl": lambda: {"data/train-0.jsonl": _lines(rows[:60]), "data/train-1.jsonl": _lines(rows[60:])},
        "text": lambda: {"train.txt": "".join(row["text"] + "\n" for row in rows)},
        "arrow": lambda: {"train.arrow": _arrow(rows)},
        "tar": lambda: {
            "train.tar": _tar(
                [
                    (f"{n:02d}.{end}", data)
                    for n in range(20)
                    for end, data in (("json", b'{"n": %d}' % n), ("png", _png(n)))
                ]
            )
        },
        "images": lambda: {
            f"train/{'cat' if n < 20 else 'dog'}/{row['image']['path']}": row["image"]["bytes"]
            for n, row in enumerate(rows)
        },
        "parquet": lambda: {"data/train-0.parquet": parquet_bytes(pa.Table.from_pylist(rows), row_group_size=20)},
    }[name]()


@dataclass
class Counted:
    """A recipe whose sources are opened and counted."""

    recipe: object
    opened: list
    survey: object
    sources: list

    def plan(self):
        return plan_mix(self.recipe, self.sources)


@pytest.fixture
def published(put, repo, parquet_bytes):
    """Publish some of the sources above; their names and repos."""

    def publish(*names):
        return {name: put(f"{repo}-{name}", _files(name, parquet_bytes)).repo_id for name in names}

    return publish


@pytest.fixture
def small_tasks(monkeypatch):
    """Files of lines in tasks of about 1 kB, media in tasks of some files, so that there are many of each."""
    monkeypatch.setattr(task_files, "_TASK_BYTES", 1000)
    monkeypatch.setattr(task_files, "_MEDIA_TASK_BYTES", 300)
    monkeypatch.setattr(task_files, "_MEDIA_TASKS", 8)


@pytest.fixture
def count(hub, tmp_path):
    """Open and count a recipe: lines at its top, and lists of sources as (repo, lines)."""

    def run(top, *sources, allow_code=False):
        text = "\n".join(
            [
                "target: ns/mix",
                *top,
                "sources:",
                *("\n".join([f"- dataset: {repo}", *(f"  {line}" for line in lines)]) for repo, lines in sources),
            ]
        )
        recipe = parse_recipe(text, str(tmp_path / "mix.yaml"))
        opened = [open_source(recipe, n, None, hub.endpoint, allow_code=allow_code) for n in range(len(sources))]
        schema, _ = align_mix(recipe, opened)
        opened = decide_copies(recipe, opened, schema, whole_files=True)
        survey = pickle.loads(pickle.dumps(plan_survey(recipe, opened, schema)))
        found = {run: survey_run(survey, run, None) for run in survey.runs()}
        return Counted(recipe, opened, survey, conclude(survey, opened, found))

    return run


def _mixed(plan):
    """A plan's rows in order: block by block, or as an exchange would bring them."""
    plan = pickle.loads(pickle.dumps(plan))
    if plan.blocks and not plan.exchange:
        return [row for table in read_blocks(plan, plan.blocks, None, copy=False) for row in table.to_pylist()]
    drawn = [
        row for piece in pieces_of(plan, 1500) for batch in read_drawn(plan, piece, None) for row in batch.to_pylist()
    ]
    return [
        {k: v for k, v in row.items() if not k.startswith("__p") and not k.startswith("__s")}
        for row in sorted(drawn, key=lambda row: row[POSITION])
    ]


def _whole(row, columns):
    return {name: row.get(name) for name in columns}


@pytest.mark.parametrize(
    ("shuffle", "exchange"), [("blocks", False), ("blocks", True), ("rows", True), ("none", False)]
)
def test_a_mix_of_all_formats_has_exactly_their_rows(published, count, small_tasks, shuffle, exchange):
    """Each row of each source as often as asked, under its own number; images and labels as `datasets` has them."""
    repos = published(*ROWS)
    tops = [f"shuffle: {shuffle}", "source_row_column: at", "block_rows: 7"]
    asked = [
        (repo, [f"name: {name}", "repeat: 2"] if name == "jsonl" else [f"name: {name}"]) for name, repo in repos.items()
    ]
    plan = count(tops[: 2 if shuffle == "rows" else 3], *asked).plan()
    assert {source.name: source.rows for source in plan.splits[0].sources} == {
        name: len(rows) for name, rows in ROWS.items()
    }
    split = replace(plan.splits[0], exchange=exchange)
    mixed = _mixed(split)
    columns = ["id", "text", "json", "png", "image", "label"]
    for name, rows in ROWS.items():
        mine = [row for row in mixed if row["source"] == name]
        times = 2 if name == "jsonl" else 1
        assert sorted(row["at"] for row in mine) == sorted([*range(len(rows))] * times)
        assert all(_whole(row, columns) == _whole(rows[row["at"]], columns) for row in mine)
    if shuffle == "none":
        assert [row["at"] for row in mixed if row["source"] == "csv"] == [*range(70)]
    else:
        assert [row["source"] for row in mixed] != sorted((row["source"] for row in mixed), key=list(ROWS).index)
    assert split.features["image"] == {"_type": "Image"}
    assert split.features["label"] == {"names": ["cat", "dog"], "_type": "ClassLabel"}


def test_rows_are_unknown_until_they_are_counted_but_for_media(published, count, small_tasks):
    """A folder's files are its rows; of anything else nothing tells how many rows there are, and the count tells it."""
    repos = published("jsonl", "images")
    counted = count([], (repos["jsonl"], []), (repos["images"], []))
    jsonl, images = counted.opened
    assert (jsonl.counted, jsonl.exact, jsonl.rows) == (False, False, 0)
    assert (images.counted, images.exact, images.rows) == (True, True, 40)
    assert [len(file.tasks) for file in jsonl.files] == [2, 1]
    assert [len(file.tasks) for file in images.files] == [8, 6]
    assert {run.source for run in counted.survey.runs()} == {0}
    assert [(one.counted, one.exact, one.rows) for one in counted.sources] == [(True, True, 90), (True, True, 40)]
    assert [sum(file.rows) for file in counted.sources[0].files] == [60, 30]
    with pytest.raises(NotFoundError, match="has no rows"):
        plan_mix(counted.recipe, conclude(counted.survey, counted.opened, {}))


def test_conditions_and_columns_mean_the_same_as_for_parquet(published, count, small_tasks, tmp_path):
    """`where`, `map` by SQL and by a function, `columns`, `take`, `dedup_by`, with plain Python to compare."""
    repos = published("csv", "jsonl", "parquet", "images")
    (tmp_path / "code.py").write_text("def last(rows):\n    return rows.slice(max(0, rows.num_rows - 1))\n")
    counted = count(
        ["dedup_by: [text]", "shuffle: none"],
        (repos["csv"], ["name: csv", "where: id % 3 <> 0", "columns: {text: text, n: id * 2}"]),
        (
            repos["jsonl"],
            ["name: jsonl", "where: id < 1050", "columns: {text: text, n: id}", "map: {text: upper(text)}"],
        ),
        (repos["parquet"], ["name: parquet", "columns: {text: text, n: id}"]),
        (repos["images"], ["name: images", "where: label = 1", "columns: {text: image.path, n: label}", "take: 5"]),
    )
    (plan,) = counted.plan().splits
    mixed = _mixed(plan)
    expected, seen = {}, set()
    wanted = {
        "csv": [(row["text"], 2 * row["id"]) for row in ROWS["csv"] if row["id"] % 3],
        "jsonl": [(row["text"].upper(), row["id"]) for row in ROWS["jsonl"] if row["id"] < 1050],
        "parquet": [(row["text"], row["id"]) for row in ROWS["parquet"]],
        "images": [(row["image"]["path"], 1) for row in ROWS["images"] if row["label"] == 1],
    }
    for name, rows in wanted.items():
        expected[name] = [row for row in rows if row[0] not in seen and not seen.add(row[0])]
    for name in ("csv", "jsonl", "parquet"):
        assert [(row["text"], row["n"]) for row in mixed if row["source"] == name] == expected[name]
    taken = [(row["text"], row["n"]) for row in mixed if row["source"] == "images"]
    assert len(taken) == 5
    assert set(taken) <= set(expected["images"])
    counted = count([], (repos["jsonl"], ["map: code:last"]), allow_code=True)
    tasks = [len(file.tasks) for file in counted.opened[0].files]
    assert counted.sources[0].rows == sum(tasks)
    assert len(_mixed(counted.plan().splits[0])) == sum(tasks)


def test_splits_share_the_rows_by_hash(published, count, small_tasks):
    """Every row is in one split, the same one whatever else the mix has."""
    repos = published("csv", "images", "text")

    def split(*names):
        top = ["shuffle: rows", "splits: {train: 0.7, test: 0.3}", "source_row_column: at"]
        plans = count(top, *((repos[name], [f"name: {name}"]) for name in names)).plan().splits
        return [{(row["source"], row["at"]) for row in _mixed(plan)} for plan in plans]

    train, test = split("csv", "images")
    assert not train & test
    assert len(train | test) == 110
    more = split("text", "images", "csv")
    assert [{row for row in part if row[0] != "text"} for part in more] == [train, test]


def test_what_was_counted_is_known_by_content_and_by_how_it_is_read(
    published, put, count, small_tasks, tmp_path, monkeypatch
):
    """A second count reads nothing; another reading of the same bytes is counted anew; a moved branch reads new files only."""
    monkeypatch.setenv("XET_PIPELINE_CACHE", str(tmp_path / "cache"))
    repos = published("csv")
    first = count([], (repos["csv"], []))
    for run in first.survey.runs():
        store_found(first.survey, run, survey_run(first.survey, run, None), None)
    put(repos["csv"], {"train-2.csv": "id,text\n1,x\n"})
    grown = count([], (repos["csv"], []))
    known = load_found(grown.survey, grown.survey.runs(), None)
    assert [run.file for run in known] == [0, 1]
    assert conclude(first.survey, first.opened, known) == first.sources
    card = "---\nconfigs:\n- config_name: default\n  data_files: train-*\n  keep_default_na: false\n---\n"
    put(repos["csv"], {"README.md": card})
    other = count([], (repos["csv"], []))
    assert load_found(other.survey, other.survey.runs(), None) == {}
    names = [[file.name for file in one.opened[0].files] for one in (first, grown, other)]
    assert names[0] == names[1][:2] == names[2][:2]
    put(repos["csv"], {"train-0.csv": "id,text\n1,another\n"})
    changed = [file.name for file in count([], (repos["csv"], [])).opened[0].files]
    assert [old == new for old, new in zip(names[2], changed, strict=True)] == [False, True, True]
    prints = {one.opened[0].transform.fingerprint for one in (first, other)}
    assert len(prints) == 2


def test_a_block_says_which_file_and_which_tasks_it_is_of(published, count, small_tasks):
    """Provenance names paths in the repo; of media, the first of the run of files that `start` counts from."""
    repos = published("jsonl", "images")
    counted = count(
        ["shuffle: blocks", "block_rows: 10"], (repos["jsonl"], ["name: jsonl"]), (repos["images"], ["name: images"])
    )
    (plan,) = counted.plan().splits
    sink = io.BytesIO()
    write_blocks(plan, sink)
    rows = read_provenance(sink.getvalue()).to_pylist()
    assert {row["file"] for row in rows if row["source"] == "jsonl"} == {"data/train-0.jsonl", "data/train-1.jsonl"}
    assert {row["file"] for row in rows if row["source"] == "images"} >= {"train/cat/00.png"}
    assert not any(row["copied"] for row in rows)
    assert max(row["row_group"] for row in rows) > 1


def test_a_file_that_gives_other_rows_than_counted_is_refused(published, count):
    """Fewer rows than the plan counted are an error, no shorter mix."""
    repos = published("csv")
    counted = count(["shuffle: blocks"], (repos["csv"], []))
    (source,) = counted.sources
    more = [
        replace(file, rows=tuple(n + 5 for n in file.rows), kept=tuple(n + 5 for n in file.kept))
        for file in source.files
    ]
    counted.sources = [replace(source, files=tuple(more))]
    (plan,) = counted.plan().splits
    with pytest.raises(CorruptFileError, match=r"train-[01]\.csv: has fewer rows than the plan counted"):
        list(read_blocks(plan, plan.blocks, None))


def test_the_keys_of_many_tasks_are_found_run_by_run(published, count, small_tasks, monkeypatch):
    """However the tasks are cut into runs, the same rows are kept."""
    repos = published("jsonl", "csv")
    asked = ["dedup_by: content"], (repos["jsonl"], ["columns: [text]"]), (repos["csv"], ["columns: [text]"])
    whole = count(*asked)
    runs = len(whole.survey.runs())
    monkeypatch.setattr(surveys, "_RUN_BYTES", 1)
    cut = count(*asked)
    assert len(cut.survey.runs()) > runs
    assert cut.sources == whole.sources
