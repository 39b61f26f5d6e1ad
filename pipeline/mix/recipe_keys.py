"""Every key of a recipe in one table: what the reader allows and what the README shows, so that they cannot drift apart."""

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


def _keys(scope: str, rows: list[tuple[str, str, str, str, str]]) -> tuple[RecipeKey, ...]:
    return tuple(
        RecipeKey(scope=scope, name=name, type=kind, default=default, meaning=meaning, example=example)
        for name, kind, default, meaning, example in rows
    )


RECIPE_KEYS = (
    *_keys(
        "recipe",
        [
            ("target", "repo or folder", "", "where the mix goes, unless `--output` says otherwise", "ns/name"),
            ("seed", "whole number", "0", "decides every random choice; same seed, same bytes", "42"),
            (
                "shuffle",
                "blocks, rows or none",
                "blocks",
                "what is permuted: runs of rows, single rows, nothing",
                "rows",
            ),
            ("shard_bytes", "size", "100MB", "about how large each file becomes", "256MiB"),
            ("block_bytes", "size", "by row size", "about how large each row group becomes", "4MB"),
            ("config", "text", "default", "the config of the mix", "v2"),
            ("split", "text", "train", "the split of the mix", "train"),
            (
                "source_column",
                "text or false",
                "source",
                "the column that names each row's source; false for none",
                "false",
            ),
            ("total_rows", "whole number", "", "the rows of the mix, shared by the sources' weights", "1000000"),
            ("private", "true or false", "", "whether a new repo is private", "true"),
            ("sources", "list", "", "what is mixed, at least one", "- dataset: ns/captions"),
        ],
    ),
    *_keys(
        "source",
        [
            ("dataset", "repo", "", "a dataset on the Hub; this or `parquet`", "hf://datasets/ns/name@main"),
            (
                "parquet",
                "path or list",
                "",
                "Parquet files by path, glob or URI, from the recipe's folder",
                "data/*.parquet",
            ),
            ("name", "text", "from the repo or folder", "what the source column and the report call it", "captions"),
            ("config", "text", "the dataset's own", "the dataset's config", "en"),
            ("split", "text", "train", "the dataset's split", "validation"),
            ("revision", "text", "main", "the dataset's branch, tag or commit", "v1.0"),
            (
                "columns",
                "mapping or list",
                "all",
                "mix column: source column or SQL; or the names to keep",
                "{text: caption}",
            ),
            ("where", "SQL", "all rows", "the condition on a row", "length(text) > 20"),
            ("take", "rows or share", "all", "how many rows are drawn, by the seed", "10%"),
            ("repeat", "number", "1", "how often each drawn row occurs", "2.5"),
            ("weight", "number", "", "this source's share of the mix; all sources or none", "0.3"),
        ],
    ),
)


def key_names(scope: str) -> list[str]:
    """The allowed keys, in the order of the table."""
    return [key.name for key in RECIPE_KEYS if key.scope == scope]
