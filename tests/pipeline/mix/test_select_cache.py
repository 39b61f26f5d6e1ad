"""What was counted is not counted again: for who may read it, of the same bytes, for the same question."""

import pyarrow as pa
import pytest

from pipeline.hub.repo import Secret
from pipeline.mix.count_cache import load_found, store_found
from pipeline.mix.counting import survey_run
from pipeline.mix.plan import align_mix
from pipeline.mix.recipe import parse_recipe
from pipeline.mix.sources import open_source
from pipeline.mix.survey import plan_survey

TOKEN = Secret("hf_any")


@pytest.fixture
def ask(hub, tmp_path, monkeypatch):
    """The survey of a recipe over one dataset, under a cache of its own."""
    monkeypatch.setenv("XET_PIPELINE_CACHE", str(tmp_path / "cache"))

    def survey(repo, *lines, dedup_by="[a]"):
        compared = [f"dedup_by: {dedup_by}"] if dedup_by else []
        text = ["target: ns/mix", *compared, "sources:", f"- dataset: {repo}", *(f"  {line}" for line in lines)]
        recipe = parse_recipe("\n".join(text), str(tmp_path / "mix.yaml"))
        source = open_source(recipe, 0, TOKEN, hub.endpoint)
        return plan_survey(recipe, [source], align_mix(recipe, [source])[0])

    return survey


def _answer(survey, token=TOKEN):
    found = {run: survey_run(survey, run, token) for run in survey.runs()}
    for run, one in found.items():
        store_found(survey, run, one, token)
    return found


def test_what_was_found_is_found_again(ask, repo, put, parquet_bytes):
    """With counts and keys, bit by bit."""
    put(repo, {"data/train-0.parquet": parquet_bytes({"a": [1, 2, 2], "b": [1, 2, 3]}, row_group_size=2)})
    survey = ask(repo, "where: b > 1")
    assert load_found(survey, survey.runs(), TOKEN) == {}
    found = _answer(survey)
    assert [(one.kept, len(one.keys)) for one in found.values()] == [((1, 1), 32)]
    assert load_found(ask(repo, "where: b > 1"), survey.runs(), TOKEN) == found


def test_of_a_branch_that_moved_only_new_files_are_counted(ask, repo, put, parquet_bytes):
    """Files keep their names on the disk of this machine by their content, wherever they lie."""
    old = parquet_bytes({"a": [1, 2]})
    put(repo, {"data/train-0.parquet": old})
    first = ask(repo)
    _answer(first)
    put(repo, {"data/train-0.parquet": parquet_bytes({"a": [3, 4]}), "data/train-1.parquet": old})
    moved = ask(repo)
    assert moved.sources[0].commit != first.sources[0].commit
    known = load_found(moved, moved.runs(), TOKEN)
    assert [run.file for run in moved.runs()] == [0, 1]
    assert [run.file for run in known] == [1]


def test_another_question_has_another_answer(ask, repo, put, parquet_bytes):
    """Other columns, types, conditions, or only counts: nothing of what was found before is taken for it."""
    put(repo, {"data/train-0.parquet": parquet_bytes({"a": [1, 2], "b": [1, 2]})})
    asked = [
        ask(repo),
        ask(repo, dedup_by="[b]"),
        ask(repo, dedup_by="[a, b]"),
        ask(repo, dedup_by="[b, a]"),
        ask(repo, "where: a > 1"),
        ask(repo, "where: a > 0"),
        ask(repo, "columns: {a: b}"),
        ask(repo, "columns: {a: cast(a as double)}"),
        ask(repo, "where: a > 1", dedup_by=""),
        ask(repo, "where: b > 1", dedup_by=""),
    ]
    for survey in asked:
        assert load_found(survey, survey.runs(), TOKEN) == {}
        _answer(survey)


def test_a_mere_condition_is_counted_once_for_any_columns(ask, repo, put, parquet_bytes):
    """What the mix takes of the rows does not change how many there are."""
    put(repo, {"data/train-0.parquet": parquet_bytes({"a": [1, 2], "b": [1, 2]})})
    _answer(ask(repo, "where: a > 1", dedup_by=""))
    again = ask(repo, "where: a > 1", "columns: {c: b}", dedup_by="")
    assert set(load_found(again, again.runs(), TOKEN)) == set(again.runs())


def test_what_a_token_has_counted_is_for_that_token(ask, repo, put, parquet_bytes, tmp_path):
    """Keys tell of rows: who may not read them does not get them; and neither does another user of the machine."""
    put(repo, {"data/train-0.parquet": parquet_bytes({"a": [1, 2]})})
    survey = ask(repo)
    _answer(survey)
    for other in (None, Secret("hf_other")):
        assert load_found(survey, survey.runs(), other) == {}
    kept = [path for path in (tmp_path / "cache" / "rows").rglob("*") if path.is_file()]
    assert kept
    assert all(path.stat().st_mode & 0o077 == 0 for path in kept)


def test_a_damaged_entry_is_none(ask, repo, put, parquet_bytes, tmp_path):
    """Cut short, or with a bit that flipped."""
    put(repo, {"data/train-0.parquet": parquet_bytes(pa.table({"a": range(9)}))})
    survey = ask(repo)
    _answer(survey)
    (entry,) = [path for path in (tmp_path / "cache" / "rows").rglob("*") if path.is_file()]
    content = bytearray(entry.read_bytes())
    for damaged in (content[:-16], content[:-1] + bytes([content[-1] ^ 1])):
        entry.write_bytes(damaged)
        assert load_found(survey, survey.runs(), TOKEN) == {}
