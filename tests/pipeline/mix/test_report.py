"""What is told of a mix: numbers that add up, a card that nothing in a recipe can break, a state that can be checked."""

import json
from dataclasses import replace

import pytest

from pipeline.hub.card import parse_card, update_section
from pipeline.hub.upload import ShardReceipt, StoredFile
from pipeline.mix.plan import plan_mix
from pipeline.mix.quality import measure_quality
from pipeline.mix.report import Built, built_values, card_section, plan_values, quality_of, source_rows, state, totals
from pipeline.predicate import parse_predicate


def _plan(make, **recipe):
    made = make(([[100] * 9, [40]], {"repeat": 2}), ([[300]], {"take": 70}), **{"block_bytes": 400, **recipe})
    return plan_mix(made.recipe, made.sources)


def _receipts(plan):
    return tuple(
        ShardReceipt(
            file=StoredFile(
                path=f"data/{n}", sha256=f"{n:064x}", xet_hash="", size=1_000 + n, new_bytes=100 * n, prevented_bytes=0
            ),
            rows=end - start,
            num_bytes=7,
        )
        for n, (start, end) in enumerate(zip(plan.bounds, plan.bounds[1:], strict=False))
    )


@pytest.mark.parametrize("shuffle", ["blocks", "rows", "none"])
def test_the_numbers_of_a_report_add_up(make, shuffle):
    """Rows of sources, shards and mix agree; written is uploaded plus deduplicated; all of it is JSON."""
    plan = _plan(make, shuffle=shuffle, shard_bytes=3_000)
    built = Built(plan=plan, receipts=_receipts(plan), seconds=1.234, commit="f" * 40)
    values = json.loads(json.dumps(built_values(built, quality_of(plan))))
    assert values["rows"] == sum(values["shards"]) == sum(source["rows"] for source in values["sources"]) == 1950
    assert len(values["shards"]) == plan.shards > 1
    assert values["bytes_written"] == sum(receipt.file.size for receipt in built.receipts)
    assert values["bytes_uploaded"] == sum(receipt.file.new_bytes for receipt in built.receipts)
    assert values["bytes_deduplicated"] == values["bytes_written"] - values["bytes_uploaded"]
    assert [source["rows_available"] for source in values["sources"]] == [940, 300]
    assert [source["rows_wanted"] for source in values["sources"]] == [1880, 70]
    assert [source["commit"] for source in values["sources"]] == ["c" * 40] * 2
    assert values["blocks"] == (len(plan.blocks) if shuffle != "rows" else None)
    assert values["quality"]["rows"] == 1950
    assert source_rows(plan)[1] == ("s1", "ns/s1@cccccccc", 300, 70, 70)
    assert totals(built)["bytes_read"] == plan.bytes_to_read


def test_quality_is_that_of_the_order_that_is_built(make):
    """In row order the runs measured are those of the permutation, row by row."""
    from pipeline.mix.plan import permutation_of

    plan = _plan(make, shuffle="rows")
    drawn = permutation_of(plan).of_range(0, plan.rows).to_pylist()
    at = [0] * plan.rows
    for row, position in enumerate(drawn):
        at[position] = int(row >= plan.draws[0].rows)
    assert quality_of(plan) == measure_quality([(source, 1) for source in at], 2, seed=plan.recipe.seed)
    blocks = _plan(make)
    assert quality_of(blocks).rows == blocks.rows


def test_the_state_holds_commits_and_checksums(make):
    """A build's record names every source's commit and every file's rows, size and sha256."""
    plan = _plan(make)
    kept = state(plan, _receipts(plan))
    assert [file["sha256"] for file in kept["files"]] == [f"{n:064x}" for n in range(plan.shards)]
    assert sum(file["rows"] for file in kept["files"]) == plan.rows
    assert {key: value for key, value in kept.items() if key != "files"} == plan_values(plan)
    assert set(kept["writers"]) == {"xet-pipeline", "pyarrow", "hf-xet"}


@pytest.mark.parametrize(
    "hostile",
    [
        "a|b",
        "two\nlines",
        "`code`",
        "<!-- pipeline: end default/train -->",
        "<img src=x onerror=alert(1)>",
        "*a* [b](http://c) \\",
        "&lt;",
    ],
)
def test_nothing_in_a_recipe_breaks_the_card(make, hostile):
    """Names, places and filters stay in their cells: same table, no markup, and the section can be replaced later."""
    plan = _plan(make)
    first = plan.sources[0]
    predicate = replace(parse_predicate("id > 1", first.schema), sql=f"name = '{hostile}'")
    sources = (replace(first, name=hostile, origin=hostile, predicate=predicate), *plan.sources[1:])
    odd = replace(plan, sources=sources, recipe=replace(plan.recipe, source_column=hostile))
    plain, section = (card_section(one, _receipts(one)).split("\n") for one in (plan, odd))
    assert len(plain) == len(section)
    row = next(line for line in section if line.startswith("| ") and "`" + "c" * 40 in line)
    assert row.replace("\\\\", "").replace("\\|", "").count("|") == 8
    text = "\n".join(section)
    assert "<img" not in text
    assert "<!--" not in text
    assert "[b]" not in text
    card = update_section(parse_card("# Mine\n", about="x"), "default/train", text, keep=False)
    again = update_section(parse_card(card.text(), about="x"), "default/train", "short", keep=False)
    assert (
        again.body.strip()
        == "# Mine\n\n<!-- pipeline: begin default/train -->\nshort\n<!-- pipeline: end default/train -->"
    )


def test_the_card_says_where_every_row_comes_from(make):
    """A row per source with place, commit, counts, share and filter; the order, the seed and the source column in words."""
    plan = _plan(make, seed=77)
    filtered = replace(plan.sources[1], predicate=parse_predicate("id >= 0", plan.sources[1].schema))
    text = card_section(replace(plan, sources=(plan.sources[0], filtered)), _receipts(plan))
    assert f"| s0 | ns/s0 | `{'c' * 40}` | 940 | 1,880 | 96.4% |  |" in text
    assert f"| s1 | ns/s1 | `{'c' * 40}` | 300 | 70 | 3.6% | <code>id >= 0</code> |" in text
    assert "Order: blocks of consecutive rows" in text
    assert "Seed: 77." in text
    assert "The column <code>source</code> names each row's source." in text
    assert "column" not in card_section(_plan(make, source_column=None), _receipts(plan))
