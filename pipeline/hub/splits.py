"""Several splits -> one change, with what is published beside them: reports, figures, tables of provenance. Pure.

What tells of a split is in `mix/<config>/<split>/`: an overwrite removes what was there, an append leaves it. None of it is data,
whatever patterns the card has.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.hub.card import Card, SplitInfo, parse_card, update_config
from pipeline.hub.commit import Change
from pipeline.hub.listing import DataFile, Listing
from pipeline.hub.patterns import escape_pattern
from pipeline.hub.resolver import splits_of
from pipeline.hub.split import Mode, SplitWrite, split_change
from pipeline.hub.transactions import Record
from pipeline.hub.upload import ShardReceipt

CARD = "README.md"
SplitFiles = tuple[SplitWrite, Sequence[ShardReceipt]]
"""What is written, and the stored files that become it."""
SizeOf = Callable[[Listing, SplitWrite], SplitInfo | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What is published with splits and is none, by path: texts, and contents for large storage, such as figures."""

    texts: Mapping[str, str] = field(default_factory=dict)
    contents: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def paths(self) -> frozenset[str]:
        """Where all of it goes."""
        return frozenset(self.texts) | frozenset(self.contents)


NOTHING = Beside()


def report_folder(config: str, split: str) -> str:
    """Where the files that tell of a split are, with a slash."""
    return f"mix/{config}/{split}/"


def splits_change(listing: Listing, splits: Sequence[SplitFiles], beside: Beside, size_of: SizeOf) -> Change:
    """The one change that publishes all splits. `size_of` is asked for those that are appended to."""
    change, now = Change(), listing
    for write, receipts in splits:
        before = size_of(now, write) if write.mode is Mode.APPEND else None
        one = split_change(now, write, receipts, before)
        change, now = _both(change, one), _after(now, one)
    old = tuple(file.path for file in listing.files if file.path not in beside.paths and _is_stale(file.path, splits))
    change = replace(
        change,
        contents=beside.contents,
        texts={**change.texts, **beside.texts},
        deletions=(*change.deletions, *old),
    )
    card = _without(_after(now, change), beside.paths)
    return replace(change, texts={**change.texts, CARD: card.text()})


def _is_stale(path: str, splits: Sequence[SplitFiles]) -> bool:
    overwrites = [write for write, _ in splits if write.mode is Mode.OVERWRITE]
    return any(path.startswith(report_folder(write.config, write.split)) for write in overwrites)


def _after(listing: Listing, change: Change) -> Listing:
    """What the repo has once it has the change."""
    files = {file.path: file for file in listing.files if file.path not in set(change.deletions)}
    files |= {file.path: DataFile(path=file.path, size=file.size, sha256=file.sha256) for file in change.files}
    files |= {path: DataFile(path=path, size=0) for path in (*change.texts, *change.contents)}
    card = parse_card(change.texts[CARD], about=str(listing.ref))
    return replace(listing, files=tuple(files[path] for path in sorted(files)), card=card)


def _both(first: Change, second: Change) -> Change:
    """Two changes as one, the second made on what the first leaves."""
    kept = {file.path for file in second.files} | set(second.texts)
    return Change(
        files=(*first.files, *second.files),
        texts={**first.texts, **second.texts},
        deletions=tuple(dict.fromkeys(path for path in (*first.deletions, *second.deletions) if path not in kept)),
        record=_both_records(first.record, second.record) if first.files else second.record,
    )


def _both_records(first: Record, second: Record) -> Record:
    return replace(
        second,
        split=f"{first.split}, {second.split}",
        rows=(first.rows or 0) + (second.rows or 0),
        files=(first.files or 0) + (second.files or 0),
        bytes=(first.bytes or 0) + (second.bytes or 0),
        new_bytes=(first.new_bytes or 0) + (second.new_bytes or 0),
    )


def _without(listing: Listing, paths: Collection[str]) -> Card:
    """The card in which no split has files of these: one whose patterns would match them names its own."""
    card = listing.card
    for entry in card.configs:
        exact = {
            split: [escape_pattern(file.path) for file in files if file.path not in paths]
            for split, files in splits_of(listing, entry).items()
            if any(file.path in paths for file in files)
        }
        if exact:
            card = update_config(card, entry.name, exact)
    return card
