"""A recipe's sources, opened: commits pinned, files listed, footers read, columns and predicates bound to real schemas.

No data is read here, but for the first rows of other formats than Parquet, which tell their schema. What cannot work is said now,
with the place in the recipe: a split that is not there, a column that the source lacks, an expression that does not fit its
types.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pyarrow as pa

from pipeline.errors import DatasetError, NotFoundError, OptionError, RecipeError, SchemaError
from pipeline.formats.rows import RowSource
from pipeline.hub.any_format import Resolved, resolve_any
from pipeline.hub.formats import PARQUET, is_parquet
from pipeline.hub.listing import Listing, list_files
from pipeline.hub.patterns import escape_pattern
from pipeline.hub.ranges import file_refs
from pipeline.hub.repo import DatasetRef, Secret, parse_ref
from pipeline.hub.resolver import Snapshot, match_files
from pipeline.mix.files import SourceFile, take_inventory
from pipeline.mix.recipe import Recipe, Source
from pipeline.mix.schema import Offered, same_feature
from pipeline.mix.select import Selection
from pipeline.mix.task_files import TaskInventory, reading_print, take_tasks
from pipeline.mix.transform import Transform, bind
from pipeline.parquet.features import Features, features_of, from_yaml
from pipeline.parquet.footer import Footer
from pipeline.parquet.rowgroup_copy import why_not_copied
from pipeline.permutation import digest
from pipeline.storage import FileRef, expand

__all__ = ["OpenSource", "SourceFile", "expand_configs", "open_source", "repos_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSource:
    """A source as far as it is known without reading data.

    `origin` says where it comes from; `commit` is `None` for files that are not on the Hub, `on_hub` whether its bytes are in Xet
    storage of the Hub that was asked. `shapes` has a footer without row groups for each Parquet schema of its files, `copies` why
    row groups of that schema cannot be copied raw into the mix (`None`: they can). `exact` says that `kept` is counted.
    `unchanged` files could stand in the mix as they are.

    Files in another format than Parquet have a `reader` instead of shapes. As long as they are not `counted`, nothing tells how
    many rows are in them, and there is no plan.
    """

    name: str
    origin: str
    commit: str | None
    on_hub: bool
    config: str | None
    split: str | None
    files: tuple[SourceFile, ...]
    shapes: tuple[Footer, ...]
    copies: tuple[str | None, ...]
    transform: Transform
    features: Features
    selection: Selection | None = None
    exact: bool = True
    unchanged: bool = False
    license: str | None = None
    gated: bool = False
    private: bool = False
    reader: RowSource | None = None
    counted: bool = True

    @property
    def rows(self) -> int:
        """The rows that it has to give; at most so many while they are not counted."""
        return sum(sum(file.kept) for file in self.files)

    def columns_in(self, file: int) -> list[str]:
        """Of the columns to read, those that a file has."""
        own = self.transform.read_schema if self.reader is not None else self.shapes[self.files[file].shape].schema()
        present = set(own.names)
        return [name for name in self.transform.read_schema.names if name in present]

    def offered(self) -> Offered:
        """Its columns as the mix sees them."""
        carried = self.transform.carried(self.features)
        return Offered(name=self.name, schema=self.transform.schema, features=carried)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """Where a source's files are; `other` is how they are read when they are not Parquet."""

    origin: str
    commit: str | None
    files: tuple[FileRef, ...]
    features: Features | None = None
    config: str | None = None
    split: str | None = None
    other: Resolved | None = None


def expand_configs(recipe: Recipe, token: Secret | None, endpoint: str | None) -> Recipe:
    """The recipe with a source for each config where one says `config: "*"`. Raises as `open_source`."""
    sources: list[Source] = []
    for source in recipe.sources:
        if source.dataset is None or source.config != "*":
            sources.append(source)
            continue
        with _in_recipe(recipe, source):
            listing = list_files(parse_ref(source.dataset, revision=source.revision, endpoint=endpoint), token)
        configs = [config.name for config in listing.card.configs] or ["default"]
        revision = listing.commit
        sources += [
            replace(source, config=config, name=f"{source.name}-{config}", revision=revision) for config in configs
        ]
    return replace(recipe, sources=tuple(sources))


def open_source(
    recipe: Recipe, index: int, token: Secret | None, endpoint: str | None, *, allow_code: bool = False
) -> OpenSource:
    """Look a source up. `copies` tells of nothing yet but what its own columns forbid.

    Raises RecipeError, NotFoundError, AccessError, SchemaError, CorruptFileError; the message starts with the recipe's line.
    """
    source = recipe.sources[index]
    with _in_recipe(recipe, source):
        found = _look_up(source, token, endpoint)
        if not found.files:
            raise NotFoundError(f"{found.origin}: has no Parquet files")
        inventory = take_inventory(found.files, token) if found.other is None else take_tasks(found.other, token)
        schema = inventory.schema()
    transform = bind(
        source,
        schema,
        where_is=lambda key: recipe.place_of(source, key),
        allow_code=allow_code,
        folder=recipe.folder,
        declared=[name for name, _ in recipe.columns] if recipe.columns else None,
    )
    read = transform.read_schema.names
    written = found.features or inventory.features
    opened = OpenSource(
        name=source.name,
        origin=found.origin,
        commit=found.commit,
        on_hub=all(file.xet_hash is not None for file in found.files),
        config=found.config,
        split=found.split,
        files=inventory.sized(read),
        shapes=inventory.shapes,
        copies=("its columns are computed" if transform.kept is None else None,) * len(inventory.shapes),
        transform=transform,
        features={name: feature for name, feature in written.items() if name in read},
        exact=not transform.changes_rows and recipe.dedup_by is None,
    )
    return _read_by_tasks(opened, inventory) if isinstance(inventory, TaskInventory) else opened


def _read_by_tasks(opened: OpenSource, inventory: TaskInventory) -> OpenSource:
    """The source with what reads it, which is a part of what decides its rows."""
    reader, counted = inventory.reader, inventory.is_counted()
    own = reading_print(reader, opened.files, opened.transform.read_schema.names)
    fingerprint = digest((opened.transform.fingerprint, own), 16).hex()
    return replace(
        opened,
        copies=(f"its files are {reader.name}",),
        transform=replace(opened.transform, fingerprint=fingerprint),
        reader=reader,
        counted=counted,
        exact=opened.exact and counted,
    )


def decide_copies(
    recipe: Recipe,
    opened: Sequence[OpenSource],
    schema: pa.Schema,
    *,
    whole_files: bool,
    features: Features | None = None,
) -> list[OpenSource]:
    """The sources, knowing which of their row groups can be copied raw into files of the mix's schema.

    `whole_files` says that the target's Hub can copy files that stand in the mix as they are: those that say nothing else of
    their columns than the mix's `features`.
    """
    own = {name for name in (recipe.source_column, recipe.source_row_column) if name is not None}
    found = []
    for index, source in enumerate(opened):
        kept = source.transform.kept
        if source.reader is not None:
            found.append(source)
            continue
        if kept is not None and recipe.sources[index].copy != "never":
            copies = tuple(why_not_copied(footer, schema, kept) for footer in source.shapes)
            whole = not own and not source.transform.constants and all(why is None for why in copies)
            same = all(name == column for name, column in kept.items())
            same = same and all(_stands_for(footer.schema(), schema, features) for footer in source.shapes)
            source = replace(source, copies=copies, unchanged=whole_files and whole and same and source.on_hub)
        elif kept is not None:
            source = replace(source, copies=("its recipe says copy: never",) * len(source.shapes))
        if recipe.source_row_column is not None:
            source = replace(source, copies=("each row gets a number",) * len(source.shapes), unchanged=False)
        found.append(source)
    return found


def _stands_for(own: pa.Schema, schema: pa.Schema, features: Features | None) -> bool:
    """Whether a file's columns, and what it tells of them itself, are the mix's."""
    told = features_of(own) or {}
    known = features or {}
    return own.remove_metadata().equals(schema.remove_metadata()) and all(
        same_feature(feature, known.get(name, feature)) for name, feature in told.items()
    )


def _look_up(source: Source, token: Secret | None, endpoint: str | None) -> _Found:
    if source.dataset is None:
        return _look_up_files(source, token, endpoint)
    ref = parse_ref(
        source.dataset, revision=source.revision, config=source.config, split=source.split, endpoint=endpoint
    )
    resolved = resolve_any(list_files(ref, token), ref)
    (snapshot,) = resolved.wanted.values()
    return _Found(
        origin=snapshot.ref.repo_id,
        commit=snapshot.ref.revision,
        files=file_refs(snapshot),
        features=from_yaml(snapshot.features) if snapshot.features else None,
        config=snapshot.ref.config,
        split=snapshot.ref.split,
        other=None if resolved.format == PARQUET else resolved,
    )


def _look_up_files(source: Source, token: Secret | None, endpoint: str | None) -> _Found:
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
    origin = ", ".join(source.parquet if one else shown)
    return _Found(origin=origin, commit=commits.pop() if one else None, files=tuple(files.values()))


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


@contextmanager
def _in_recipe(recipe: Recipe, source: Source) -> Iterator[None]:
    """Put the source's line before whatever is raised."""
    try:
        yield
    except DatasetError as err:
        kind = RecipeError if isinstance(err, SchemaError) else type(err)
        raise kind(f"{recipe.place_of(source)}: {err}") from err
