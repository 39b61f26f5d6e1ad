"""Every key of a recipe in one table: what the reader allows and what the README shows, so that they cannot drift apart."""

# ruff: noqa: E501  (tables are read in columns)

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeKey:
    """One key: `scope` is `recipe` or `source`; the rest is text for people."""

    scope: str
    name: str
    type: str
    default: str
    meaning: str
    example: str


def _keys(scope: str, table: str) -> tuple[RecipeKey, ...]:
    """The keys of a table with one key a line: name, type, default, meaning and example between bars."""
    found = []
    for line in table.strip().splitlines():
        name, kind, default, meaning, example = (cell.strip() for cell in line.split("|"))
        found.append(RecipeKey(scope=scope, name=name, type=kind, default=default, meaning=meaning, example=example))
    return tuple(found)


_RECIPE = """
target             | repo, bucket or folder |          | where the mix goes, unless `--output` says otherwise                                     | ns/name
seed               | whole number           | 0        | decides every random choice; same seed, same bytes                                       | 42
shuffle            | blocks, rows or none   | by row size | what is permuted: runs of rows (rows of 16 KB and more), single rows, nothing         | blocks
spread             | balanced or random     | balanced | blocks: each source evenly along the mix, or wherever chance puts it                     | random
block_rows         | whole number           | by row size | the rows of a block (and row group), instead of block_bytes                           | 16
block_bytes        | size                   | by row size | about how large each block (and row group) becomes                                    | 4MB
shard_bytes        | size                   | 100MB    | about how large each file becomes                                                        | 256MiB
shard_rows         | whole number           |          | how many rows each file gets, instead of shard_bytes                                     | 10000
shards             | whole number           |          | how many files, instead of shard_bytes                                                   | 64
shards_multiple_of | whole number           |          | the number of files is a multiple of it, for readers that share them                     | 8
config             | text                   | default  | the config of the mix                                                                    | v2
split              | text                   | train    | the split of the mix                                                                     | train
splits             | split: share           |          | several splits by hash, so that no row changes its split when the mix grows              | {train: 99%, validation: 0.01}
source_column      | text or false          | source   | the column that names each row's source; false for none                                  | false
source_row_column  | text or false          | false    | a column with each row's number in its source                                            | source_row
columns            | column: type           | all, by name | the columns of the mix, in this order; a source without one has nulls in it          | {text: string, label: bigint}
dedup_by           | columns, or content    |          | of rows that are equal there (content: everywhere) only the first stays; first source wins | [text]
total_rows         | whole number           |          | the rows of the mix, shared by weights or temperature; else the scarcest source decides  | 1000000
temperature        | number                 |          | sources get rows as their size^(1/temperature): 1 is their size, more is more equal      | 2
layout             | blocks                 | blocks   | how files are laid out: row groups that deduplicate in any order                         | blocks
private            | true or false          | by sources | whether a new repo is private                                                          | true
public             | list of repos          |          | the private or gated sources whose rows may be published openly                          | [ns/x]
sources            | list                   |          | what is mixed, at least one                                                              | - dataset: ns/captions
"""

_SOURCE = """
dataset    | repo                      |                         | a dataset on the Hub; this or `parquet`                                      | hf://datasets/ns/name@main
parquet    | path or list              |                         | Parquet files by path, glob or URI, from the recipe's folder                 | data/*.parquet
name       | text                      | from the repo or folder | what the source column and the report call it                                | captions
config     | text                      | the dataset's own       | the dataset's config; `*` for all of them, each a source                     | "*"
split      | text                      | train                   | the dataset's split                                                          | validation
revision   | text                      | main                    | the dataset's branch, tag or commit                                          | v1.0
columns    | mapping or list           | all                     | mix column: source column, path, SQL or constant; or the names to keep; `*` is all others | {text: caption, lang: meta.lang, kind: "'web'", "*": "*"}
map        | column: SQL, or function  |                         | new values from the columns; or a Python `module:function` over record batches, with `--allow-code` | {text: trim(text)}
cast       | column: type              |                         | the types of mix columns                                                     | {label: bigint}
where      | SQL                       | all rows                | the condition on a row of the source                                         | length(text) > 20
copy       | auto or never             | auto                    | whether row groups are copied without decoding where that can be             | never
take       | rows or share             | all                     | how many rows are drawn, by the seed                                         | 10%
repeat     | number                    | 1                       | how often each drawn row occurs                                              | 2.5
weight     | number                    |                         | this source's share of the mix; all sources or none                          | 0.3
max_repeat | number                    |                         | how often a row occurs at most, with weights or temperature                  | 4
"""

RECIPE_KEYS = (*_keys("recipe", _RECIPE), *_keys("source", _SOURCE))


def key_names(scope: str) -> list[str]:
    """The allowed keys, in the order of the table."""
    return [key.name for key in RECIPE_KEYS if key.scope == scope]
