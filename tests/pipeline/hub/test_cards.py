"""The card: what we change in it is ours, what people wrote stays to the letter."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import OptionError
from pipeline.hub.card import (
    Card,
    SplitInfo,
    parse_card,
    split_info,
    update_config,
    update_info,
    update_section,
)

WRITTEN = """---
# who may use it
license: mit        # as all of ours
language:
- no
- "yes"
pretty_name: 'A: "name"'
configs:
- config_name: other
  data_files: other/*.parquet
  drop_labels: true

# about sizes
size_categories: [n<1K]
task_ids: &ids
- x
more: *ids
released: 2024-01-02
---

# Title

---
Text with --- in it, <b>html</b> and \\backslashes\\1.
"""
NUMBERS = {"train": SplitInfo(num_examples=3, num_bytes=30)}


def edited(text, config="default"):
    """A card after everything that a write does to it."""
    card = update_config(parse_card(text, about="x"), config, {"train": ["data/train-*"]})
    card = update_info(card, config, [{"name": "a", "dtype": "int64"}], NUMBERS, download_size=7)
    return update_section(card, f"{config}/train", "## Ours", keep=False).text()


def test_an_edit_keeps_what_people_wrote():
    """Body, comments, quotes, unknown keys and other configs stay, letter by letter."""
    text = edited(WRITTEN)
    for kept in (
        "# who may use it\nlicense: mit        # as all of ours\n",
        'language:\n- no\n- "yes"\npretty_name: \'A: "name"\'\n',
        "\n# about sizes\nsize_categories: [n<1K]\ntask_ids: &ids\n- x\nmore: *ids\nreleased: 2024-01-02\n",
        WRITTEN.split("---\n", 2)[2],
    ):
        assert kept in text
    meta = parse_card(text, about="x").meta
    assert meta["configs"][0] == {"config_name": "other", "data_files": "other/*.parquet", "drop_labels": True}
    assert meta["configs"][1]["data_files"] == [{"split": "train", "path": "data/train-*"}]
    assert meta["dataset_info"]["splits"] == [{"name": "train", "num_bytes": 30, "num_examples": 3}]


def test_an_edit_made_twice_changes_nothing_more():
    """The same write again gives the same card: nothing is repeated."""
    once = edited(WRITTEN)
    assert edited(once) == once
    assert once.count("pipeline: begin") == once.count("configs:") == once.count("dataset_info:") == 1


def test_a_section_is_replaced_where_it_stands():
    """Our Markdown is found between its markers and replaced there, even when people wrote after it."""
    card = update_section(Card(body="# Title\n"), "a/b", "one \\1 \\g<0>", keep=False)
    card = update_section(parse_card(card.text() + "\nafter\n", about="x"), "a/b", "two \\2", keep=False)
    assert card.text() == "# Title\n\n<!-- pipeline: begin a/b -->\ntwo \\2\n<!-- pipeline: end a/b -->\n\nafter\n"
    assert update_section(card, "a/b", None, keep=False).text() == "# Title\n\nafter\n"


def test_sections_that_are_kept_stand_together():
    """What an append tells comes after what the split's earlier writes told; other splits' sections are left alone."""
    card = update_section(Card(body="# Title\n"), "a/b", "one", keep=False)
    card = update_section(card, "a/c", "other", keep=False)
    card = update_section(card, "a/b", "two", keep=True)
    told = card.text()
    assert told.index("one") < told.index("two") < told.index("other")
    assert update_section(card, "a/b", None, keep=True).text() == told
    again = update_section(card, "a/b", "three", keep=False).text()
    assert "one" not in again
    assert "two" not in again
    assert again.index("three") < again.index("other")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only text\n",
        "---\n---\ntext",
        "---\n{license: mit, x: [1]}\n---\n",
        "---\na: &x [1]\ndataset_info: &y {splits: []}\nz: *y\n---\n",
    ],
)
def test_any_card_can_be_edited(text):
    """No card, no YAML, empty YAML, braces, aliases into what is replaced: the values stay, ours are there."""
    before, after = parse_card(text, about="x"), parse_card(edited(text), about="x")
    ours = {"configs", "dataset_info"}
    assert {key: value for key, value in after.meta.items() if key not in ours} == {
        key: value for key, value in before.meta.items() if key not in ours
    }
    assert before.body.strip() in after.body
    assert split_info(after, "default", "train") == NUMBERS["train"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    meta=st.dictionaries(st.text("abcdef", min_size=1, max_size=5), VALUES, max_size=5),
    body=st.text("ab-#\n ", max_size=30),
)
def test_unknown_keys_and_text_survive_any_edit(meta, body):
    """Whatever YAML values and Markdown a card has, an edit leaves them equal."""
    text = f"---\n{yaml.safe_dump(meta, sort_keys=False)}---\n{body}" if meta else body
    before, after = parse_card(text, about="x"), parse_card(edited(text), about="x")
    assert before.meta.items() <= after.meta.items()
    assert before.body.rstrip() in after.body


def test_windows_line_ends_are_read():
    """A card with CRLF and spaces after its fences is the same card."""
    card = parse_card("\r\n---  \r\nlicense: mit\r\n--- \r\nbody\r\n", about="x")
    assert card.meta == {"license": "mit"}
    assert card.body == "body\r\n"


def test_dashes_inside_a_value_do_not_end_the_yaml():
    """Only a line of its own ends the front matter."""
    card = parse_card("---\ntitle: a ---\nother: b---\n---\nbody", about="x")
    assert card.meta == {"title": "a ---", "other": "b---"}
    assert card.body == "body"


@pytest.mark.parametrize(
    "front",
    [
        "a: [",
        "- a\n- b",
        "configs: {a: 1}",
        "configs: [1]",
        "configs: [{data_files: 3}]",
        "configs: [{data_files: [{split: a}]}]",
    ],
)
def test_a_card_that_cannot_be_read_says_so_in_one_line(front):
    """Broken YAML and configs of the wrong shape are an OptionError with the repo's name."""
    with pytest.raises(OptionError, match=r"^ns/name.*README\.md") as caught:
        parse_card(f"---\n{front}\n---\n", about="ns/name")
    assert "\n" not in str(caught.value)


def test_numbers_of_other_splits_and_configs_stay():
    """dataset_info grows from a mapping to a list; other splits keep their numbers; sizes are sums."""
    card = update_info(Card(), "a", None, {"train": SplitInfo(num_examples=1, num_bytes=10)}, download_size=5)
    card = update_info(card, "a", None, {"test": SplitInfo(num_examples=2, num_bytes=20)}, download_size=6)
    assert isinstance(card.meta["dataset_info"], dict)
    assert card.info("a")["dataset_size"] == 30
    card = update_info(card, "b", [{"name": "x", "dtype": "int8"}], NUMBERS, download_size=1)
    assert [info["config_name"] for info in card.meta["dataset_info"]] == ["a", "b"]
    assert split_info(card, "a", "train") == SplitInfo(num_examples=1, num_bytes=10)
    assert split_info(card, "c", "train") is split_info(card, "a", "nope") is None


def test_the_patterns_of_a_data_dir_are_kept_when_a_split_is_added():
    """A config with data_dir gets a new split without its old ones pointing elsewhere."""
    text = "---\nconfigs:\n- config_name: default\n  data_dir: d\n  data_files: [{split: test, path: t*}]\n---\n"
    card = update_config(parse_card(text, about="x"), "default", {"train": ["data/train-*"]})
    again = parse_card(card.text(), about="x")
    assert dict(again.configs[0].data_files) == {"test": ("d/t*",), "train": ("data/train-*",)}
    assert "data_dir" not in again.meta["configs"][0]


def test_what_stands_twice_is_written_twice():
    """Two configs with the same features make no YAML alias, which some readers of cards refuse."""
    features = [{"name": "a", "dtype": "int64"}]
    card = update_info(Card(), "one", features, NUMBERS, download_size=7)
    text = update_info(card, "two", features, NUMBERS, download_size=7).text()
    assert "&id" not in text
    assert text.count("name: a") == 2
