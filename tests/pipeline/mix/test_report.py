"""What is told of a mix: numbers that add up, texts that nothing in a recipe can break, a record that can be checked."""

import json
import re
from dataclasses import replace
from itertools import pairwise

import pytest
import yaml

from pipeline.hub.card import parse_card, update_section
from pipeline.hub.upload import ShardReceipt, StoredFile
from pipeline.mix.card_section import card_section
from pipeline.mix.counts import count_sources, quality_of
from pipeline.mix.plan import permutation_of, plan_mix
from pipeline.mix.plan_lines import plan_lines
from pipeline.mix.plan_values import plan_values
from pipeline.mix.predict import Prediction
from pipeline.mix.provenance import read_blocks
from pipeline.mix.quality import measure_quality
from pipeline.mix.recipe import parse_recipe
from pipeline.mix.recipe_text import recipe_text
from pipeline.mix.report import report_files, report_folder, report_markdown
from pipeline.mix.report_values import Measured, record_values, report_values
from pipeline.predicate import parse_predicate

FILES = ("blocks.parquet", "order.png", "report.json", "shares.png", "upload.png")


def _mix(make, **recipe):
    made = make(
        ([[100] * 9, [40]], {"repeat": 2}),
        ([[300]], {"take": 70}),
        **{"block_rows": 40, "shuffle": "blocks", "shards": 3, **recipe},
    )
    return plan_mix(made.recipe, made.sources)


def _receipts(plan):
    return tuple(
        ShardReceipt(
            file=StoredFile(
                path=f"data/{n}", sha256=f"{n:064x}", xet_hash="", size=1_000 + n, new_bytes=100 * n, prevented_bytes=n
            ),
            rows=end - start,
            num_bytes=7,
        )
        for n, (start, end) in enumerate(pairwise(plan.bounds))
    )


def _predictions(plan):
    return tuple(
        Prediction(bytes_written=2_000_000, bytes_new=20_000 * n, reason=f"reason {n}")
        for n, _ in enumerate(plan.sources)
    )


def _values(mix, split=0, **measured):
    plan = mix.splits[split]
    given = {"seconds": 1.25, "predictions": _predictions(plan), **measured}
    return json.loads(json.dumps(report_values(mix, plan, _receipts(plan), Measured(**given))))


def _changed(mix, **changes):
    """The mix with something of its first source changed."""
    plan = mix.splits[0]
    return replace(mix, splits=(replace(plan, sources=(replace(plan.sources[0], **changes), *plan.sources[1:])),))


@pytest.mark.parametrize("shuffle", ["blocks", "rows", "none"])
def test_the_numbers_of_a_report_add_up(make, shuffle):
    """Rows of sources, shards, stretches and mix agree; published is uploaded plus deduplicated; all of it is JSON."""
    mix = _mix(make, shuffle=shuffle)
    plan = mix.splits[0]
    values = _values(mix, shards_kept=1, duplicates={"s0": (3, 4)})
    by_shard, along = values["per_shard"]["by_source"], values["along"]
    assert values["rows"] == sum(values["shards"]) == sum(one["drawn"] for one in values["sources"]) == 1950
    assert list(map(sum, zip(*by_shard.values(), strict=True))) == values["shards"] == values["per_shard"]["rows"]
    assert list(map(sum, zip(*along["by_source"].values(), strict=True))) == along["rows"]
    assert [sum(rows) for rows in by_shard.values()] == [one["drawn"] for one in values["sources"]] == [1880, 70]
    assert [one["rows_available"] for one in values["sources"]] == [940, 300]
    assert [(one["base"], one["repeats"]) for one in values["sources"]] == [(940, 2), (70, 1)]
    assert sum(one["share"] for one in values["sources"]) == pytest.approx(1, abs=1e-5)
    assert sum(one["bytes_to_read"] for one in values["sources"]) == values["bytes_to_read"] == plan.bytes_to_read
    size = values["bytes"]
    assert size["published"] == sum(receipt.file.size for receipt in _receipts(plan))
    assert size["published"] == size["uploaded"] + size["deduplicated"] == sum(values["per_shard"]["size"])
    assert (size["uploaded"], size["prevented"], size["predicted"]) == (300, 3, 20_000)
    assert values["blocks"] == (len(plan.blocks) if shuffle != "rows" else None)
    assert values["quality"]["rows"] == 1950
    assert values["measured"] == {"seconds": 1.2, "shards_kept": 1, "duplicates": {"s0": [3, 4]}}


def test_rows_are_counted_where_they_stand(make):
    """In row order, by the permutation that builds it; in block order, block by block, cut where a stretch ends."""
    plan = _mix(make, shuffle="rows").splits[0]
    at = permutation_of(plan).of_range(0, plan.rows).to_pylist()
    sources = [0] * plan.rows
    for row, place in enumerate(at):
        sources[place] = int(row >= plan.draws[0].rows)
    bounds = [0, 1, 7, 1_000, 1_950]
    expected = [[sources[a:b].count(source) for a, b in pairwise(bounds)] for source in (0, 1)]
    assert count_sources(plan, bounds) == expected
    assert quality_of(plan) == measure_quality([(source, 1) for source in sources], 2, seed=plan.recipe.seed)
    blocks = _mix(make).splits[0]
    sources = [block.source for block in blocks.blocks for _ in range(block.rows)]
    expected = [[sources[a:b].count(source) for a, b in pairwise(bounds)] for source in (0, 1)]
    assert count_sources(blocks, bounds) == expected


def test_the_record_holds_what_builds_the_mix_again(make):
    """Plan id, commits, a recipe that is pinned to them, and every file's rows, size and sha256."""
    mix = _mix(make)
    plan = mix.splits[0]
    kept = json.loads(json.dumps(record_values(mix, plan, _receipts(plan))))
    assert kept["plan_id"] == mix.id
    assert [file["sha256"] for file in kept["files"]] == [f"{n:064x}" for n in range(plan.shards)]
    assert sum(file["rows"] for file in kept["files"]) == kept["rows"] == plan.rows
    assert set(kept["writers"]) == {"xet-pipeline", "pyarrow", "hf-xet"}
    assert [(one["name"], one["commit"], one["drawn"]) for one in kept["sources"]] == [
        ("s0", "c" * 40, 1880),
        ("s1", "c" * 40, 70),
    ]
    again = parse_recipe(kept["recipe"])
    assert [source.revision for source in again.sources] == ["c" * 40] * 2
    assert (
        replace(again, file="", positions=()).to_dict()
        == replace(
            mix.recipe,
            file="",
            positions=(),
            sources=tuple(
                replace(one, revision="c" * 40, position=two.position)
                for one, two in zip(mix.recipe.sources, again.sources, strict=True)
            ),
        ).to_dict()
    )


def test_any_recipe_is_written_as_it_reads():
    """Every kind of value survives: mappings, lists, shares, constants, switches, text that looks like something else."""
    text = """
target: ns/mix
seed: 3
shuffle: none
shard_bytes: 5MB
splits: {train: 0.9, validation: 0.1}
source_column: false
source_row_column: row
columns: {text: string, "on": bigint}
dedup_by: content
public: [ns/a]
sources:
- dataset: ns/a
  columns: {text: "'en'", "on": "1", n: meta.lang}
  cast: {n: string}
  map: {text: lower(text)}
  where: "text like '%: #x%'"
  take: 50%
  copy: never
- parquet: [a.parquet, "b/*.parquet"]
  name: "no"
  map: mod:clean
  repeat: 2.5
"""
    one = parse_recipe(text)
    two = parse_recipe(recipe_text(one))
    plain = [
        replace(recipe, positions=(), sources=tuple(replace(source, position=(1, 1)) for source in recipe.sources))
        for recipe in (one, two)
    ]
    assert plain[0] == plain[1]


@pytest.mark.parametrize(
    "hostile",
    [
        "a|b",
        "two\nlines",
        "`code`",
        "```\n# x",
        "<!-- pipeline: end default/train -->",
        "<img src=x onerror=alert(1)>",
        "*a* [b](http://c) \\",
        "&lt;",
    ],
)
def test_nothing_in_a_recipe_breaks_card_or_report(make, hostile):
    """Names, places, licences and filters stay in their cells: no more lines, no markup, a section that can be replaced."""
    shown = []
    for text in ("plain", hostile):
        mix = _mix(make)
        transform = mix.splits[0].sources[0].transform
        predicate = replace(parse_predicate("id > 1", transform.read_schema), sql=f"name = '{text}'")
        odd = replace(transform, predicate=predicate)
        values = _values(_changed(mix, name=text, origin=text, license=text, transform=odd))
        shown.append({**values, "recipe": "seed: 1", "source_column": text})
    for texts in (
        [card_section(values, "mix/default/train/", FILES).split("\n") for values in shown],
        [report_markdown(values, FILES).split("\n") for values in shown],
    ):
        assert len(texts[0]) == len(texts[1])
        for plain, line in zip(*texts, strict=True):
            if line.startswith("|"):
                assert line.replace("\\\\", "").replace("\\|", "").count("|") in (
                    plain.count("|"),
                    plain.count("|") + 0,
                )
        text = "\n".join(texts[1])
        assert "<img" not in text
        assert "<!--" not in text
        assert "[b]" not in text
    section = card_section(shown[1], "mix/default/train/", FILES)
    card = update_section(parse_card("# Mine\n", about="x"), "default/train", section, keep=False)
    again = update_section(parse_card(card.text(), about="x"), "default/train", "short", keep=False)
    assert (
        again.body.strip()
        == "# Mine\n\n<!-- pipeline: begin default/train -->\nshort\n<!-- pipeline: end default/train -->"
    )


def test_a_recipe_cannot_leave_its_place_in_the_report(make):
    """Backticks in it are fewer than those around it, and what stands there reads as the recipe."""
    values = {**_values(_mix(make)), "recipe": yaml.safe_dump({"seed": 1, "note": "```\n# Not a heading\n````"})}
    fence, inside = re.search(r"^(`{3,})yaml\n(.*?)\n\1$", report_markdown(values), re.MULTILINE | re.DOTALL).groups()
    assert len(fence) == 5
    assert yaml.safe_load(inside) == yaml.safe_load(values["recipe"])


def test_the_card_says_where_rows_come_from(make):
    """A row per source with its page at its commit, licence, marks, counts and share; order, seed, quality; links in the repo."""
    values = _values(_changed(_mix(make, seed=77), license="mit", gated=True))
    text = card_section(values, "mix/my config/train/", FILES)
    assert "| s0 |" in text
    assert "| mit, gated | 1,880 | 2 | 96.4% |" in text
    assert "Seed: 77." in text
    assert "The column <code>source</code> names each row's source." in text
    assert "behind a buffer of 1,000 rows, chi2/dof is" in text
    assert "![Shares of rows, wanted and got](mix/my%20config/train/shares.png)" in text
    assert "[Full report](mix/my%20config/train/report.md)" in text
    assert "[origin of every row](mix/my%20config/train/blocks.parquet)" in text
    assert "column" not in card_section({**values, "source_column": None}, "mix/x/train/", FILES)
    assert ".png" not in card_section(values, "mix/x/train/", ["report.json"])


def test_many_sources_stay_readable(make):
    """Of 185 sources, card and report of files show the 20 largest, and all others as one; nothing is lost."""
    made = make(*[([[n + 1]], {}) for n in range(185)], shuffle="blocks", block_rows=1, shards=4)
    mix = plan_mix(made.recipe, made.sources)
    values = _values(mix)
    card = card_section(values, "mix/default/train/", FILES)
    rows = [line for line in card.split("\n") if line.startswith("| s")]
    assert [row.split(" | ")[0] for row in rows[1:]] == [f"| s{n}" for n in range(165, 185)]
    assert f"| 165 others |  | {sum(range(1, 166)):,} |  |" in card
    table = report_markdown(values, FILES).split("## Rows of each source per file\n\n")[1].split("\n\n")[0].split("\n")
    assert table[0].count("|") == 2 + 20 + 1 + 1
    for line in table[2:]:
        _, total, *cells = (int(cell.replace(",", "")) for cell in line.strip("| ").split(" | "))
        assert sum(cells) == total


def test_a_report_of_many_files_has_the_least_and_the_most(make):
    """Above 50 files there is a row per source instead of one per file."""
    made = make(([[1] * 900], {}), ([[1] * 90], {}), shuffle="blocks", block_rows=1, shards=60)
    values = _values(plan_mix(made.recipe, made.sources))
    part = report_markdown(values, FILES).split("## Rows of each source per file\n\n")[1]
    assert part.startswith("| source | least | mean | most |")
    assert "| s0 | 15 | 15.0 | 15 |" in part


@pytest.mark.parametrize("shuffle", ["blocks", "rows"])
def test_the_files_of_a_report_are_what_it_links_to(make, shuffle):
    """Each link of the report is one of its files; the values are those that it was made of; row order says how places follow."""
    mix = _mix(make, shuffle=shuffle)
    plan = mix.splits[0]
    values = _values(mix)
    files = report_files(plan, values)
    text = files["report.md"].decode()
    linked = set(re.findall(r"\]\(([^):]+)\)", text))
    assert linked == set(files) - {"report.md", "report.json"}
    assert json.loads(files["report.json"]) == values
    if shuffle == "blocks":
        assert len(read_blocks(files["blocks.parquet"])) == len(plan.blocks)
    else:
        assert f"Permutation({plan.rows}, 0, 'mix')" in text
    assert report_folder("default", "train") == "mix/default/train/"
    assert report_folder("default", "train", "t1") == "mix/default/train/t1/"


def test_a_report_without_figures_says_how_to_get_them(make):
    """Where matplotlib is not installed, the report has all else."""
    text = report_markdown(_values(_mix(make)), ["report.json", "blocks.parquet"])
    assert ".png" not in text
    assert text.count("pip install 'xet-pipeline[report]'") == 3


def test_a_folder_has_no_upload(make):
    """Nothing is uploaded to a folder, and nothing is said of it."""
    mix = _mix(make)
    mix = replace(mix, recipe=replace(mix.recipe, target="./there"))
    values = _values(mix)
    assert values["bytes"]["uploaded"] is None
    told = plan_lines(plan_values(mix, [_predictions(mix.splits[0])]))
    for text in (report_markdown(values, FILES), card_section(values, "mix/default/train/", FILES), "\n".join(told)):
        assert "upload" not in text.replace("what it will read and upload", "")


def test_a_plan_reads_top_to_bottom_in_100_columns(make):
    """What goes in, what it costs and why, what comes out; upper bounds, closed sources and the gate are marked."""
    mix = _mix(make)
    plan = mix.splits[0]
    sources = (
        replace(
            plan.sources[0], exact=False, private=True, license="cc-by-4.0", name="n" * 90, origin="ns/" + "o" * 90
        ),
        plan.sources[1],
    )
    draws = (replace(plan.draws[0], exact=False), plan.draws[1])
    mix = replace(mix, splits=(replace(plan, sources=sources, draws=draws),))
    predictions = [(replace(_predictions(plan)[0], reason="a long reason, " * 12), _predictions(plan)[1])]
    lines = plan_lines(json.loads(json.dumps(plan_values(mix, predictions))))
    text = "\n".join(lines)
    assert max(map(len, lines)) <= 100
    for expected in (
        "<= 940",
        "cc-by-4.0, private",
        "1,880",
        "96.4%",
        "about 20.0 kB of 4.0 MB (0.5%)",
        "reason 1",
        "1,950 in 3 shards of",
        "as stored",
        "behind a buffer of 1,000 rows",
        "--count counts them",
        mix.id,
    ):
        assert expected in " ".join(text.split())
    assert re.search(r"^gate +(met|NOT MET) ", text, re.MULTILINE)
    order = [text.index(word) for word in ("available", "written", "rows  ", "to upload", "shuffle", "gate", "columns")]
    assert order == sorted(order)
