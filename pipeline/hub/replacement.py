"""Files of a split -> other files with the same rows at some of their paths: the change, and which files are fit for it.

Nothing but the card's patterns that would name nothing any more, and the size of the config's files, has to be written anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.errors import ConflictError
from pipeline.hub.card import Card, ConfigEntry, update_config, update_info
from pipeline.hub.commit import Change
from pipeline.hub.listing import DataFile, Listing
from pipeline.hub.patterns import escape_pattern
from pipeline.hub.resolver import match_files, splits_of
from pipeline.hub.split import existing_files
from pipeline.hub.transactions import Record
from pipeline.hub.upload import StoredFile


def shared_paths(listing: Listing, config: str, split: str) -> set[str]:
    """The paths that another split names too: replacing such a file would change that one."""
    return {
        file.path
        for entry in listing.card.configs or (ConfigEntry(name="default", data_files=()),)
        for name, files in splits_of(listing, entry).items()
        if (entry.name, name) != (config, split)
        for file in files
    }


def check_replaceable(listing: Listing, config: str, split: str, old: Sequence[DataFile]) -> None:
    """Raises ConflictError when these files are not in the split any more as they were, or in another one too."""
    now = set(existing_files(listing, config, split))
    shared = shared_paths(listing, config, split)
    changed = [file.path for file in old if file not in now or file.path in shared]
    if changed:
        raise ConflictError(
            f"{listing.ref.repo_id}: {changed[0]!r} of split {split!r} was changed by another writer since it was read; "
            "nothing was replaced; run again"
        )


def replace_files(
    listing: Listing, config: str, split: str, *, old: Sequence[DataFile], files: tuple[StoredFile, ...], record: Record
) -> Change:
    """The change that puts `files`, each at the path of an old one, in the place of all `old` ones."""
    kept = {file.path for file in files}
    gone = tuple(file.path for file in old if file.path not in kept)
    sizes = {file.path: file.size for file in files}
    after = [replace(file, size=sizes.get(file.path, file.size)) for file in listing.files if file.path not in gone]
    card = _with_living_patterns(listing, config, split, after)
    card = _with_size(card, config, sum(sizes.values()) - sum(file.size for file in old))
    texts = {} if card == listing.card else {"README.md": card.text()}
    return Change(files=files, texts=texts, deletions=gone, record=record)


def _with_living_patterns(listing: Listing, config: str, split: str, after: Sequence[DataFile]) -> Card:
    """The card without the split's patterns that named files which are gone."""
    card = listing.card
    entry = next((entry for entry in card.configs if entry.name == config), None)
    patterns = dict(entry.data_files).get(split, ()) if entry else ()
    paths = {escape_pattern(file.path) for file in after}
    gone = {escape_pattern(file.path) for file in listing.files} - paths
    about = str(listing.ref)

    def lives(pattern: str) -> bool:
        if pattern in paths or pattern in gone:  # at once, for a card may list thousands
            return pattern in paths
        named = match_files(listing.files, [pattern], about=about)
        return not named or bool(match_files(after, [pattern], about=about))

    living = tuple(filter(lives, patterns))
    return card if living == patterns else update_config(card, config, {split: living})


def _with_size(card: Card, config: str, more: int) -> Card:
    info = card.info(config)
    if not info or not isinstance(info.get("download_size"), int):
        return card
    return update_info(card, config, info.get("features"), {}, download_size=info["download_size"] + more)
