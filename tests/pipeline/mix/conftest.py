"""Opened sources without files: real footers of real Parquet, written to memory, for what needs no data."""

import io
from dataclasses import dataclass

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from pipeline.mix.recipe import Recipe, Source
from pipeline.mix.sources import OpenSource
from pipeline.parquet.footer import Footer
from pipeline.predicate import parse_expression
from pipeline.storage import FileRef


def _footer(counts, first_id):
    """A file with row groups of these sizes, and ids from `first_id`, so that no two files have the same footer."""
    sink = io.BytesIO()
    schema = pa.schema([("id", pa.int64())])
    with pq.ParquetWriter(sink, schema, compression="none", use_dictionary=False) as writer:
        for count in counts:
            writer.write_table(pa.table({"id": pa.array(range(first_id, first_id + count), pa.int64())}), count or None)
            first_id += count
    raw = sink.getvalue()
    return Footer(raw=raw[-8 - int.from_bytes(raw[-8:-4], "little") : -8])


@dataclass(frozen=True)
class Made:
    """A recipe and its opened sources."""

    recipe: Recipe
    sources: list[OpenSource]


def _opened(name, files, kept=None):
    footers = tuple(_footer(counts, 1000 * n) for n, counts in enumerate(files))
    schema = pa.schema([("id", pa.int64())])
    return OpenSource(
        name=name,
        origin=f"ns/{name}",
        commit="c" * 40,
        files=tuple(FileRef(uri=f"/{name}/{n}", size=1, content_id=f"{name}{n}") for n in range(len(files))),
        footers=footers,
        schema=schema,
        features={},
        predicate=None,
        expressions={"id": parse_expression("id", schema)},
        counts=tuple(map(tuple, kept or files)),
    )


@pytest.fixture(scope="session")
def make():
    """A recipe over sources given as (files' row-group sizes, keys of the recipe's source)."""

    def build(*sources, kept=None, **recipe):
        names = [f"s{n}" for n in range(len(sources))]
        said = tuple(
            Source(name=name, dataset=f"ns/{name}", **keys) for name, (_, keys) in zip(names, sources, strict=True)
        )
        opened = [
            _opened(name, files, kept and kept[n])
            for n, (name, (files, _)) in enumerate(zip(names, sources, strict=True))
        ]
        return Made(Recipe(target="ns/mix", sources=said, **recipe), opened)

    return build
