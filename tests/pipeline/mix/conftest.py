"""Opened sources without files, for what needs no data: the footer of a real Parquet file, and the counts that a test wants."""

import io
from dataclasses import dataclass

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from pipeline.mix.files import SourceFile
from pipeline.mix.recipe import Recipe, Source
from pipeline.mix.sources import OpenSource
from pipeline.mix.transform import bind
from pipeline.parquet.footer import Footer
from pipeline.permutation import digest
from pipeline.storage import FileRef

SCHEMA = pa.schema([("id", pa.int64())])


def _shape():
    """The footer of a file without rows."""
    sink = io.BytesIO()
    pq.write_table(SCHEMA.empty_table(), sink)
    raw = sink.getvalue()
    return Footer(raw=raw[-8 - int.from_bytes(raw[-8:-4], "little") : -8])


@dataclass(frozen=True)
class Made:
    """A recipe and its opened sources."""

    recipe: Recipe
    sources: list[OpenSource]


def _file(source, number, counts, kept, row_bytes, padded):
    name = digest((source, number, *counts), 8).hex()  # as content would: no two files have one name
    return SourceFile(
        file=FileRef(uri=f"/{source}/{number}", size=1, content_id=f"{source}{number}"),
        name=name,
        rows=tuple(counts),
        kept=tuple(kept),
        sizes=tuple(max(1, count * row_bytes) for count in counts),
        padded=padded,
        shape=0,
    )


@pytest.fixture(scope="session")
def make():
    """A recipe over sources given as (files' row-group sizes, keys of the recipe's source); rows have 8 bytes, unless said.

    `kept` are the rows that each row group keeps, `why` is why row groups cannot be copied, `opened` are fields of the sources.
    """

    def build(*sources, kept=None, row_bytes=8, padded=False, why="not in a test", opened=None, **recipe):
        names = [f"s{n}" for n in range(len(sources))]
        said = tuple(
            Source(name=name, dataset=f"ns/{name}", **keys) for name, (_, keys) in zip(names, sources, strict=True)
        )
        found = []
        for n, (name, (files, _)) in enumerate(zip(names, sources, strict=True)):
            counts = kept[n] if kept else files
            found.append(
                OpenSource(
                    **{
                        "name": name,
                        "origin": f"ns/{name}",
                        "commit": "c" * 40,
                        "on_hub": True,
                        "config": "default",
                        "split": "train",
                        "files": tuple(
                            _file(name, i, groups, counts[i], row_bytes, padded) for i, groups in enumerate(files)
                        ),
                        "shapes": (SHAPE,),
                        "copies": (why,),
                        "transform": bind(said[n], SCHEMA, where_is=str),
                        "features": {},
                        **(opened or {}),
                    }
                )
            )
        return Made(Recipe(target="ns/mix", sources=said, **recipe), found)

    return build


SHAPE = _shape()
