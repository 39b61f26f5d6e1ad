"""How well a published mix is shuffled, told by its blocks or by its column of sources, on a real Hub."""

import random

import pytest

from pipeline.audit.inspect import find_published
from pipeline.audit.mix_quality import SourceRuns, measure_split
from pipeline.errors import SchemaError
from pipeline.hub.listing import list_files
from pipeline.mix.quality import measure_quality

SOURCES = ("a", "b", "c")


def _runs(block_rows, blocks=600, seed=1):
    draw = random.Random(seed)
    return [(n * 2 // blocks, draw.choice(SOURCES), f"{n}", block_rows) for n in range(blocks)]


@pytest.fixture
def measured():
    """Measure the only split of a ref."""

    def measure(ref, **options):
        listing = list_files(ref, None)
        (split,) = find_published(ref, None).splits
        return measure_split(listing, split, None, **options)

    return measure


def _expected(runs):
    numbers = {name: n for n, name in enumerate(dict.fromkeys(source for _, source, _, _ in runs))}
    return measure_quality([(numbers[source], rows) for _, source, _, rows in runs], len(numbers))


def test_blocks_and_column_tell_the_same(repo, put_mix, measured):
    """What the table of blocks says is what the rows are, as stored and behind the buffer, whichever of them is read."""
    runs = _runs(8)
    ref = put_mix(repo, runs)
    by_blocks, by_column = measured(ref), measured(ref, source_column="source")
    assert (by_blocks.seen_in, by_column.seen_in) == ("mix/default/train/blocks.parquet", "column 'source'")
    assert by_blocks.quality == by_column.quality == _expected(runs)
    assert by_blocks.rows_by_source == by_column.rows_by_source
    assert sum(by_blocks.rows_by_source.values()) == 4800


def test_the_gate_tells_large_blocks_from_small_ones(repo, put_mix, measured):
    """Blocks of one row meet it, blocks of 256 rows do not."""
    assert measured(put_mix(repo, _runs(1, blocks=3000))).quality.meets_gate
    assert not measured(put_mix(f"{repo}-large", _runs(256, blocks=40))).quality.meets_gate


def test_a_table_of_blocks_that_lacks_rows_is_not_believed(repo, put_mix, measured):
    """Rows were added since: the card counts more than the blocks do, so the column is read."""
    card = "---\ndataset_info:\n  config_name: default\n  splits:\n  - {name: train, num_examples: 4801, num_bytes: 1}\n---\n"
    assert measured(put_mix(repo, _runs(8), card=card)).seen_in == "column 'source'"


def test_with_a_table_of_blocks_no_file_is_opened(repo, put, put_mix, measured):
    """Files that nobody could read are not in its way."""
    runs = _runs(8)
    put_mix(repo, runs)
    ref = put(repo, {f"data/train-0000{n}-of-00002.parquet": "not Parquet" for n in range(2)})
    assert measured(ref).quality == _expected(runs)


def test_the_column_is_the_one_that_the_recipe_names(repo, put_mix, measured):
    """A mix whose sources stand in another column is measured without being told which."""
    ref = put_mix(repo, _runs(8), table=False, source_column="block")
    assert (measured(ref).seen_in, measured(ref).quality.sources) == ("column 'block'", 600)


def test_without_a_column_of_sources_it_says_what_there_is(repo, put, parquet_bytes, measured):
    """One line that names the columns, and the option."""
    ref = put(repo, {"a.parquet": parquet_bytes({"id": [1], "origin": ["x"], "tags": [["y"]]})})
    with pytest.raises(
        SchemaError, match=r"no column 'source' .* --source-column, those that exist: 'id', 'origin', 'tags'"
    ):
        measured(ref)
    with pytest.raises(SchemaError, match="column 'tags' is list"):
        measured(ref, source_column="tags")
    assert measured(ref, source_column="origin").rows_by_source == {"x": 1}


def test_runs_join_where_batches_meet():
    """A run that ends a batch and begins the next is one run; a null is a source of its own."""
    import pyarrow as pa

    runs = SourceRuns()
    runs.add(pa.array(["a", "b", "b"]))
    runs.add(pa.array(["b", None]))
    runs.add(pa.array([], pa.string()))
    runs.add(pa.array([None, "a"]), pa.array([2, 5]))
    assert list(runs) == [(0, 1), (1, 3), (2, 3), (0, 5)]
    assert runs.rows_by_source() == {"a": 6, "b": 3, "None": 3}
    assert (len(runs), runs[1], runs[2:]) == (4, (1, 3), [(2, 3), (0, 5)])
