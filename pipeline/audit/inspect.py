"""What a dataset has published, and how well it streams: its listing, then its files' footers, and nothing of its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.audit.advice import LARGE_ROW_GROUP_BYTES, Finding, advise
from pipeline.audit.facts import CardFacts, SplitFacts, split_facts
from pipeline.errors import NotFoundError
from pipeline.hub.card import Card, ConfigEntry, split_info
from pipeline.hub.formats import PARQUET, formats_of, is_parquet
from pipeline.hub.listing import DataFile, Listing, list_files
from pipeline.hub.ranges import file_refs
from pipeline.hub.repo import DatasetRef, Secret
from pipeline.hub.resolver import Snapshot, other_formats, pick_config, splits_of
from pipeline.parquet.features import Features, from_yaml
from pipeline.parquet.footer import Footer, read_footers

# Footers are tens of kB to some MB: as many as are read at a time are held at a time.
_FOOTERS_AT_ONCE = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedSplit:
    """A split's Parquet files, by the listing."""

    config: str
    split: str
    files: tuple[DataFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherData:
    """Files of a config that are not Parquet."""

    config: str
    format: str
    files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What a commit has, by its listing and card alone."""

    ref: DatasetRef
    card: Card
    splits: tuple[PublishedSplit, ...]
    others: tuple[OtherData, ...]

    @property
    def files(self) -> int:
        """How many footers there are to read."""
        return sum(len(split.files) for split in self.splits)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitReport:
    """One split: what is there, what to do."""

    facts: SplitFacts
    advice: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetReport:
    """A dataset at a commit."""

    dataset: str
    commit: str
    splits: tuple[SplitReport, ...]
    others: tuple[OtherData, ...]

    def values(self) -> dict[str, Any]:
        """The report for programs."""
        splits = [{**asdict(one.facts), "advice": [asdict(finding) for finding in one.advice]} for one in self.splits]
        others = [asdict(other) for other in self.others]
        return {"dataset": self.dataset, "commit": self.commit, "splits": splits, "other_formats": others}


def find_published(ref: DatasetRef, token: Secret | None) -> Published:
    """Look up the ref's splits: of all configs, unless it names one; all splits, unless it names one.

    Raises NotFoundError for a dataset, revision, config or split that does not exist, AccessError.
    """
    listing = list_files(ref, token)
    if ref.config is not None or not listing.card.configs:
        configs: Sequence[ConfigEntry] = [pick_config(listing, ref.config)]
    else:
        configs = listing.card.configs
    splits: list[PublishedSplit] = []
    others: Counter[tuple[str, str]] = Counter()
    for config in configs:
        for name, files in splits_of(listing, config).items():
            if ref.split in (None, name):
                rows = tuple(file for file in files if is_parquet(file.path))
                foreign = Counter((config.name, kind) for file in files if (kind := _other_format(file)))
                others.update(foreign)
                if rows or not foreign:
                    splits.append(PublishedSplit(config=config.name, split=name, files=rows))
        others.update(_inferred_others(listing, config))
    if ref.split is not None and not splits and not others:
        known = dict.fromkeys(repr(name) for config in configs for name in splits_of(listing, config))
        raise NotFoundError(f"{listing.ref}: no split {ref.split!r}; those that exist: {', '.join(known) or 'none'}")
    found = (OtherData(config=config, format=kind, files=count) for (config, kind), count in others.items())
    return Published(ref=listing.ref, card=listing.card, splits=tuple(splits), others=tuple(found))


def inspect(published: Published, token: Secret | None, on_footers: Callable[[int], object]) -> DatasetReport:
    """Read the footers of all files, and report; `on_footers` is told how many more are done.

    Raises CorruptFileError naming the file that is not Parquet, AccessError, TransferError.
    """
    reports = []
    for one in published.splits:
        facts = split_facts(
            one.config,
            one.split,
            one.files,
            _footers(published.ref, one.files, token, on_footers),
            card=_card_facts(published.card, one),
            large_bytes=LARGE_ROW_GROUP_BYTES,
        )
        reports.append(SplitReport(facts=facts, advice=advise(facts)))
    commit = published.ref.revision or ""
    return DatasetReport(dataset=published.ref.repo_id, commit=commit, splits=tuple(reports), others=published.others)


def _footers(
    ref: DatasetRef, files: Sequence[DataFile], token: Secret | None, on_footers: Callable[[int], object]
) -> Iterator[Footer]:
    refs = file_refs(Snapshot(ref=ref, files=tuple(files)))
    for start in range(0, len(refs), _FOOTERS_AT_ONCE):
        footers = read_footers(refs[start : start + _FOOTERS_AT_ONCE], token)
        on_footers(len(footers))
        yield from footers


def _card_facts(card: Card, split: PublishedSplit) -> CardFacts:
    info = card.info(split.config) or {}
    size = split_info(card, split.config, split.split)
    return CardFacts(features=_card_features(info.get("features")), rows=size.num_examples if size else None)


def _card_features(written: Any) -> Features | None:
    try:
        return from_yaml(written) if written else None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None  # people write cards too; what no reader understands is as good as none


def _other_format(file: DataFile) -> str | None:
    """The format of a file that is not Parquet, `None` for one that is, or that is nothing with rows."""
    return None if is_parquet(file.path) else next(iter(formats_of([file.path])), None)


def _inferred_others(listing: Listing, config: ConfigEntry) -> Counter[tuple[str, str]]:
    """What file names alone would make rows, were it Parquet."""
    kinds = other_formats(listing, config)
    prefix = f"{config.data_dir}/" if config.data_dir else ""
    found = Counter(_other_format(file) for file in listing.files if file.path.startswith(prefix))
    return Counter({(config.name, kind): found[kind] for kind in kinds if kind != PARQUET})
