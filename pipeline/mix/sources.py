"""A recipe's sources, opened: commits pinned, files listed, footers read, columns and predicates bound to real schemas.

No data is read here. What cannot work is said now, with the place in the recipe: a split that is not there, a column that the
source lacks, an expression that does not fit its types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pyarrow as pa

from pipeline.errors import DatasetError, NotFoundError, OptionError, RecipeError, SchemaError
from pipeline.hub.formats import is_parquet
from pipeline.hub.listing import Listing, list_files
from pipeline.hub.patterns import escape_pattern
from pipeline.hub.ranges import file_refs
from pipeline.hub.repo import DatasetRef, Secret, parse_ref
from pipeline.hub.resolver import Snapshot, match_files, resolve
from pipeline.mix.recipe import Recipe, Source
from pipeline.mix.schema import Offered
from pipeline.parquet.conform import common_type, conform
from pipeline.parquet.features import Features, features_of, from_yaml
from pipeline.parquet.footer import Footer, read_footers
from pipeline.parquet.scan import scan
from pipeline.parquet.task import ScanTask
from pipeline.predicate import Expression, Predicate, filter_batch, parse_expression, parse_predicate, project
from pipeline.storage import FileRef, expand


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSource:
    """A source as far as it is known without reading data. `expressions` are the mix's columns that it brings.

    `schema` is what is read from its files; `counts` are the rows of each file's row groups, those that `where` keeps once
    `count_rows` has been told of them. `origin` says where it comes from; `commit` is `None` for files that are not on the Hub.
    """

    name: str
    origin: str
    commit: str | None
    files: tuple[FileRef, ...]
    footers: tuple[Footer, ...]
    schema: pa.Schema
    features: Features
    predicate: Predicate | None
    expressions: Mapping[str, Expression]
    counts: tuple[tuple[int, ...], ...]

    @property
    def rows(self) -> int:
        """The rows that it has to give."""
        return sum(map(sum, self.counts))

    @property
    def read_columns(self) -> list[str]:
        """The columns that its files are read for."""
        return list(self.schema.names)

    def offered(self) -> Offered:
        """Its columns as the mix sees them."""
        empty = project(self.schema.empty_table(), self.expressions)
        kept = {
            name: self.features[expression.source_column]
            for name, expression in self.expressions.items()
            if expression.source_column in self.features
        }
        return Offered(name=self.name, schema=empty.schema, features=kept)

    def task(self, file: int, row_groups: Sequence[int]) -> ScanTask:
        """Some row groups of one of its files, to scan."""
        return ScanTask(file=self.files[file], footer=self.footers[file], row_groups=tuple(row_groups))

    def columns_in(self, file: int) -> list[str]:
        """Of the columns to read, those that a file has."""
        present = set(self.footers[file].schema().names)
        return [name for name in self.schema.names if name in present]

    def rows_of(self, batch: pa.RecordBatch, uri: str) -> pa.RecordBatch:
        """A batch of one of its files with the wanted rows only, in the source's own schema."""
        whole = conform(batch, self.schema, uri)
        return filter_batch(whole, self.predicate) if self.predicate else whole


def open_source(recipe: Recipe, index: int, token: Secret | None, endpoint: str | None) -> OpenSource:
    """Look a source up.

    Raises RecipeError, NotFoundError, AccessError, SchemaError, CorruptFileError; the message starts with the recipe's line.
    """
    source = recipe.sources[index]
    with _in_recipe(recipe, f"sources[{index}]"):
        origin, commit, files, card_features = _look_up(source, token, endpoint)
        if not files:
            raise NotFoundError(f"{origin}: has no Parquet files")
        footers = tuple(read_footers(files, token))
        whole = _unify(files, footers)
        written = card_features or features_of(footers[0].schema()) or {}
    expressions = _bind_columns(recipe, index, whole)
    predicate = None
    if source.where is not None:
        with _in_recipe(recipe, f"sources[{index}].where"):
            predicate = parse_predicate(source.where, whole)
    needed = {name for one in expressions.values() for name in one.columns} | set(
        predicate.columns if predicate else ()
    )
    schema = pa.schema([field for field in whole if field.name in needed])
    return OpenSource(
        name=source.name,
        origin=origin,
        commit=commit,
        files=files,
        footers=footers,
        schema=schema,
        features={name: feature for name, feature in written.items() if name in needed},
        predicate=predicate,
        expressions=expressions,
        counts=tuple(tuple(group.rows for group in footer.row_groups()) for footer in footers),
    )


def count_kept(source: OpenSource, file: int, group: int, token: Secret | None) -> int:
    """How many rows of one row group the source's `where` keeps; reads only the columns that it names."""
    assert source.predicate is not None
    narrow = replace(source, schema=pa.schema([source.schema.field(name) for name in source.predicate.columns]))
    task = narrow.task(file, [group])
    batches = scan([task], token, narrow.columns_in(file))
    return sum(narrow.rows_of(batch, task.file.uri).num_rows for batch in batches)


def _look_up(
    source: Source, token: Secret | None, endpoint: str | None
) -> tuple[str, str | None, tuple[FileRef, ...], Features | None]:
    if source.dataset is not None:
        ref = parse_ref(
            source.dataset, revision=source.revision, config=source.config, split=source.split, endpoint=endpoint
        )
        snapshot = resolve(ref, token)
        features = from_yaml(snapshot.features) if snapshot.features else None
        return snapshot.ref.repo_id, snapshot.ref.revision, file_refs(snapshot), features
    return _look_up_files(source, token, endpoint)


def _look_up_files(
    source: Source, token: Secret | None, endpoint: str | None
) -> tuple[str, str | None, tuple[FileRef, ...], None]:
    """Files by path, glob or URI; each repo among them is pinned once. With several repos, the origin tells the commits."""
    listings: dict[DatasetRef, Listing] = {}
    files: dict[str, FileRef] = {}
    shown = []
    for written, path in zip(source.parquet, source.parquet_paths, strict=True):
        if not path.startswith("hf://"):
            files.update((file.uri, file) for file in expand([path]))
            shown.append(written)
            continue
        ref = hub_ref(path, endpoint)
        repo = replace(ref, path="")
        listing = listings[repo] = listings.get(repo) or list_files(repo, token)
        files.update((file.uri, file) for file in _expand_hub(listing, ref.path))
        shown.append(f"hf://datasets/{ref.repo_id}@{listing.commit}/{ref.path}")
    commits = {listing.commit for listing in listings.values()}
    one = len(commits) == 1
    return ", ".join(source.parquet if one else shown), commits.pop() if one else None, tuple(files.values()), None


def repos_of(source: Source, endpoint: str | None) -> list[DatasetRef]:
    """The repos that a source reads from, each once."""
    paths = [path for path in source.parquet_paths if path.startswith("hf://")]
    refs = [hub_ref(path, endpoint) for path in paths]
    refs += [parse_ref(source.dataset, endpoint=endpoint)] if source.dataset is not None else []
    return list({ref.repo_id: ref for ref in refs}.values())


def hub_ref(path: str, endpoint: str | None) -> DatasetRef:
    """The repo, revision and path of an `hf://` URI. Raises OptionError when it is no dataset's."""
    if not path.startswith("hf://datasets/"):
        raise OptionError(f"{path!r} is not in a dataset; expected 'hf://datasets/ns/name[@revision]/path'")
    return parse_ref(path, endpoint=endpoint)


def _expand_hub(listing: Listing, path: str) -> tuple[FileRef, ...]:
    """The Parquet files that a path, folder or glob names in a repo. Raises NotFoundError when there are none."""
    about = str(listing.ref)
    parquet = [file for file in listing.files if is_parquet(file.path)]
    below = f"{escape_pattern(path.rstrip('/'))}/**/*.parquet".lstrip("/")
    found = match_files(parquet, [path], about=about) if path else ()
    found = found or match_files(parquet, [below], about=about)
    if not found:
        raise NotFoundError(f"{about}: {path!r} names no Parquet file or folder in it")
    return file_refs(Snapshot(ref=listing.ref, files=found))


def _unify(files: Sequence[FileRef], footers: Sequence[Footer]) -> pa.Schema:
    """The columns of all files, each with a type that holds every file's."""
    kinds: dict[str, pa.DataType] = {}
    for file, footer in zip(files, footers, strict=True):
        for column in footer.schema():
            known = kinds.get(column.name)
            merged = common_type([column.type] if known is None else [known, column.type])
            if merged is None:
                raise SchemaError(
                    f"{file.uri}: column {column.name!r} is {column.type}, but {known} in the files before"
                )
            kinds[column.name] = merged
    return pa.schema(list(kinds.items()))


def _bind_columns(recipe: Recipe, index: int, schema: pa.Schema) -> dict[str, Expression]:
    source = recipe.sources[index]
    bound: dict[str, Expression] = {}
    for name, sql in source.columns or [(name, name) for name in schema.names]:
        with _in_recipe(recipe, f"sources[{index}].columns.{name}"):
            label = f"source {source.name!r}, column {name!r}"
            bound[name] = _column(sql, schema) if sql in schema.names else parse_expression(sql, schema, label=label)
    return bound


def _column(name: str, schema: pa.Schema) -> Expression:
    quoted = '"' + name.replace('"', '""') + '"'
    return parse_expression(quoted, schema)


@contextmanager
def _in_recipe(recipe: Recipe, path: str) -> Iterator[None]:
    """Put the recipe's line before whatever is raised."""
    try:
        yield
    except DatasetError as err:
        place = recipe.where_is(path)
        kind = RecipeError if isinstance(err, SchemaError) else type(err)
        raise kind(f"{place}: {err}") from err
