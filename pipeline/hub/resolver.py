"""A ref -> a Snapshot: the commit, and which files make which config and split.

What the caller asks for comes first (`data_files`, `data_dir`), then the card's configs, then what file names tell: all as
`datasets` has it, also the order of splits and of the files in one. Only the split that is wanted is matched. Two things differ:
patterns stay inside their repo (an absolute path, a `..` or another scheme is an error), and only files of one kind are data:
Parquet, unless the caller wants TAR archives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from pipeline.errors import NotFoundError, OptionError
from pipeline.hub.card import ConfigEntry
from pipeline.hub.formats import PARQUET, FileKind, formats_of, is_parquet
from pipeline.hub.inference import InferredSplit, infer_splits
from pipeline.hub.listing import DataFile, Listing, list_files
from pipeline.hub.patterns import check_inside, escape_pattern, first_matches, is_visible, plain_path
from pipeline.hub.repo import DatasetRef, Secret

DataFiles = str | Sequence[str] | Mapping[str, str | Sequence[str]]
"""What `load_dataset` takes as `data_files`: a pattern, several, or several by split."""
_CARD = "README.md"
_SHOWN = 5
_PATH = attrgetter("path")


PARQUET_FILES = FileKind(name="Parquet", holds=is_parquet)
TAR_FILES = FileKind(name="TAR", holds=lambda path: path.endswith((".tar", ".tar.gz", ".tgz")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One split of one config, pinned: `ref.revision` is a commit sha. `features` is the card's, `None` when it has none."""

    ref: DatasetRef
    files: tuple[DataFile, ...]
    features: tuple[Any, ...] | None = None

    @property
    def rows_url(self) -> str:
        """What a person reads: `ns/name@sha`, shortened."""
        return f"{self.ref.repo_id}@{(self.ref.revision or '')[:8]}"


def resolve(
    ref: DatasetRef, token: Secret | None, *, data_files: DataFiles | None = None, data_dir: str | None = None
) -> Snapshot:
    """The data files of the ref's split (default: `train`) in its config (default: the card's own).

    `data_files` and `data_dir` are those of `load_dataset`: patterns (`train` unless by split) and a folder that they are in;
    a folder alone is searched as a repo without a card is. A path in the ref is the folder that these are in. Any of them hides
    what the card says of files and features.
    Raises NotFoundError, listing what exists, for an unknown config or split and for a pattern that matches nothing;
    OptionError for a pattern that leaves the repo.
    """
    return select_split(list_files(ref, token), ref, data_files=data_files, data_dir=data_dir)


def select_split(
    listing: Listing,
    ref: DatasetRef,
    *,
    data_files: DataFiles | None = None,
    data_dir: str | None = None,
    kind: FileKind = PARQUET_FILES,
) -> Snapshot:
    """What `resolve` does, on a listing, for files of this kind: the ref's config and split in it. No network."""
    config, asked = wanted_config(listing, ref, data_files=data_files, data_dir=data_dir)
    if config.data_files:
        place = "option 'data_files'" if asked else _CARD
        split, files = _explicit_split(listing, config, ref.split, kind, place)
    else:
        split, files = _inferred_split(listing, config, ref.split, kind)
    info = None if asked else listing.card.info(config.name)
    features = tuple(info["features"]) if info and info.get("features") else None
    return Snapshot(ref=replace(listing.ref, config=config.name, split=split), files=files, features=features)


def wanted_config(
    listing: Listing, ref: DatasetRef, *, data_files: DataFiles | None = None, data_dir: str | None = None
) -> tuple[ConfigEntry, bool]:
    """The config that a ref and its options mean, and whether the options say which files instead of the card."""
    if ref.path and data_files is None and not data_dir and any(file.path == ref.path for file in listing.files):
        data_files = [escape_pattern(ref.path)]
    elif ref.path:
        data_dir = f"{ref.path}/{data_dir}" if data_dir else ref.path
    asked = data_files is not None or bool(data_dir)
    config = pick_config(listing, ref.config, needed=not asked)
    return (_asked_config(config, data_files, data_dir or "", str(listing.ref)) if asked else config), asked


def pick_config(listing: Listing, name: str | None, *, needed: bool = True) -> ConfigEntry:
    """The card's config of this name, its default one for `None`; without a card, one that holds what file names tell.

    Where none is `needed`, several without a default are as good as none.
    """
    bare = ConfigEntry(name="default", data_files=())
    configs = listing.card.configs or (bare,)
    if name is not None:
        for config in configs:
            if config.name == name:
                return config
        raise NotFoundError(f"{listing.ref}: no config {name!r}; {_those(config.name for config in configs)}")
    defaults = [config for config in configs if config.default or config.name == "default" or len(configs) == 1]
    infos = listing.card.meta.get("dataset_info") or ()
    if not defaults and (isinstance(infos, Mapping) or len(infos) == 1):
        defaults = [config for config in configs if listing.card.info(config.name)]
    if len(defaults) == 1:
        return defaults[0]
    if not needed:
        return bare
    why = "more than one is" if defaults else "no config is"
    those = _those(config.name for config in defaults or configs)
    raise NotFoundError(f"{listing.ref}: option 'config' is needed, for {why} the default; {those}")


def splits_of(listing: Listing, config: ConfigEntry) -> dict[str, tuple[DataFile, ...]]:
    """Split name -> its files in path order, of other formats too where patterns name them; none where nothing matches."""
    about = str(listing.ref)
    if config.data_files:
        explicit = _explicit_patterns(config, about)
        return {split: match_files(listing.files, patterns, about=about) for split, patterns in explicit.items()}
    splits = _match_inferred([file for file in listing.files if is_parquet(file.path)], config, about)
    return {split: tuple(sorted(files, key=_PATH)) for split, files in splits.items()}


def files_by_split(
    listing: Listing, config: ConfigEntry, holds: Callable[[str], bool]
) -> dict[str, tuple[DataFile, ...]]:
    """Split -> those of its files that are data, in the order of `datasets`; splits that the card names may have none."""
    about = str(listing.ref)
    files = [file for file in listing.files if holds(file.path)]
    if not config.data_files:
        return _match_inferred(files, config, about)
    explicit = _explicit_patterns(config, about)
    return {split: _match(files, patterns, "", about) for split, patterns in explicit.items()}


def other_formats(listing: Listing, config: ConfigEntry) -> list[str]:
    """The formats of a config without `data_files`, where the most common is not Parquet: `datasets` takes that one for all."""
    if config.data_files:
        return []
    splits = _match_inferred(listing.files, config, str(listing.ref))
    found = formats_of(file.path for files in splits.values() for file in files)
    return found if found[:1] != [PARQUET] else []


def match_files(files: Iterable[DataFile], patterns: Iterable[str], *, about: str) -> tuple[DataFile, ...]:
    """The files that the patterns name, in path order; hidden ones and `__folders__` only where a pattern spells them out."""
    return tuple(sorted(_match(files, list(patterns), "", about), key=_PATH))


def _match(files: Iterable[DataFile], patterns: Sequence[str], folder: str, about: str) -> tuple[DataFile, ...]:
    """The files of a folder (its path with a slash) that the patterns in it name: in the patterns' order, by path within one."""
    ordered = sorted(files, key=_PATH)
    found = first_matches([file.path[len(folder) :] for file in ordered], patterns, about=about)
    return tuple(ordered[index] for indices in found for index in indices)


def _asked_config(config: ConfigEntry, data_files: DataFiles | None, data_dir: str, about: str) -> ConfigEntry:
    """The config with the files that the caller describes instead of the card."""
    bare = replace(config, data_files=(), data_dir=data_dir)
    if data_files is None:
        return bare
    folder = escape_pattern(_folder(bare, about))
    splits = _asked_patterns(data_files)
    for patterns in splits.values():
        for pattern in patterns:  # before a folder hides that it is absolute
            check_inside(pattern, about=about)
    explicit = ((split, tuple(folder + pattern for pattern in patterns)) for split, patterns in splits.items())
    return replace(config, data_files=tuple(explicit), data_dir=None)


def _asked_patterns(data_files: DataFiles) -> dict[str, list[str]]:
    """What `load_dataset` takes, by split; one that is not said is `train`."""
    splits: list[tuple[Any, Any]] = [("train", data_files)]
    if isinstance(data_files, Mapping):
        splits = list(data_files.items())
    elif not isinstance(data_files, str) and all(isinstance(one, Mapping) for one in data_files):
        splits = [(one.get("split"), one.get("path")) for one in data_files if isinstance(one, Mapping)]
    found = {split: [one] if isinstance(one, str) else one for split, one in splits}
    well = (
        isinstance(one, Sequence) and one and all(isinstance(pattern, str) for pattern in one) for one in found.values()
    )
    if not found or len(found) < len(splits) or not all(isinstance(split, str) for split in found) or not all(well):
        raise OptionError(
            f"option 'data_files' must be a pattern, a list of patterns, or either for each split, got {data_files!r:.80}"
        )
    return found


def _explicit_patterns(config: ConfigEntry, about: str) -> dict[str, tuple[str, ...]]:
    patterns = dict(config.data_files)
    if len(patterns) < len(config.data_files):
        names = [split for split, _ in config.data_files]
        raise OptionError(
            f"{about}: a split stands twice in config {config.name!r} of README.md, got {names}; join them"
        )
    return patterns


def _explicit_split(
    listing: Listing, config: ConfigEntry, wanted: str | None, kind: FileKind, place: str
) -> tuple[str, tuple[DataFile, ...]]:
    """The split that is wanted, and the files that its patterns name; each path without wildcards must be there."""
    about = str(listing.ref)
    splits = _explicit_patterns(config, about)
    split = _pick_split(wanted, splits)
    if split not in splits:
        raise NotFoundError(f"{about}: no split {split!r} in config {config.name!r}; {_those(splits)}")
    files = [file for file in listing.files if kind.holds(file.path)]
    found = _match(files, splits[split], "", about)
    paths = {pattern: path for pattern in splits[split] if (path := plain_path(pattern)) is not None}
    missing = set(paths.values()).difference(file.path for file in files) if paths else ()
    unmet = [pattern for pattern, path in paths.items() if path in missing] if found else list(splits[split])
    if unmet or not found:
        said = f"{about}: split {split!r} of config {config.name!r} has no files for {_some(unmet) or 'no pattern'} of {place}"
        raise NotFoundError(f"{said}; {_others(match_files(listing.files, unmet, about=about), files, kind)}")
    return split, found


def _inferred_split(
    listing: Listing, config: ConfigEntry, wanted: str | None, kind: FileKind
) -> tuple[str, tuple[DataFile, ...]]:
    """The split that is wanted, and its files as names tell them."""
    about = str(listing.ref)
    files = [file for file in listing.files if kind.holds(file.path)]
    folder = _folder(config, about)
    inside, splits = _infer(files, folder)
    split = _pick_split(wanted, splits)
    if split in splits:
        return split, _match_told(inside, splits[split], folder, about)
    said = f"{about}: no split {split!r} in config {config.name!r}"
    if splits:
        raise NotFoundError(f"{said}; {_those(splits)}")
    if kind is PARQUET_FILES and (formats := other_formats(listing, config)):
        raise NotFoundError(f"{said}; its data is {' and '.join(formats)}, and only Parquet can be read")
    if config.data_dir:
        raise NotFoundError(f"{said}; folder {config.data_dir!r} has no {kind.name} file; {_others((), files, kind)}")
    raise NotFoundError(f"{said}; {_those(()) if kind is PARQUET_FILES else _others((), files, kind)}")


def _pick_split(wanted: str | None, splits: Iterable[str]) -> str:
    names = list(splits)
    return wanted or ("train" if "train" in names or not names else names[0])


def _infer(files: Iterable[DataFile], folder: str) -> tuple[list[DataFile], dict[str, InferredSplit]]:
    """The files in a folder (its path with a slash), and the splits that their names tell of."""
    cut = len(folder)
    inside = [file for file in files if file.path.startswith(folder) and is_visible(file.path[cut:])]
    return inside, infer_splits([file.path[cut:] for file in inside])


def _match_inferred(files: Iterable[DataFile], config: ConfigEntry, about: str) -> dict[str, tuple[DataFile, ...]]:
    folder = _folder(config, about)
    inside, splits = _infer(files, folder)
    return {split: _match_told(inside, told, folder, about) for split, told in splits.items()}


def _match_told(files: Iterable[DataFile], told: InferredSplit, folder: str, about: str) -> tuple[DataFile, ...]:
    cut = len(folder)
    return _match([file for file in files if told.hint.search(file.path, cut)], told.patterns, folder, about)


def _folder(config: ConfigEntry, about: str) -> str:
    """The folder that a config's names are relative to, with a slash; empty for the repo."""
    check_inside(config.data_dir or "", about=about)
    return "".join(f"{part}/" for part in (config.data_dir or "").split("/") if part not in ("", "."))


def _others(matched: Sequence[DataFile], files: Sequence[DataFile], kind: FileKind) -> str:
    """What there is instead: what else was matched, else some files of the kind."""
    if formats := formats_of(file.path for file in matched):
        return f"what it matches is {' and '.join(formats)}, and only {kind.name} can be read"
    paths = sorted(file.path for file in files)
    return f"{kind.name} files that exist: {_some(paths)}" if paths else f"there is no {kind.name} file"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more


def _those(names: Iterable[str]) -> str:
    known = ", ".join(repr(name) for name in names)
    return f"those that exist: {known}" if known else "it has none yet"
