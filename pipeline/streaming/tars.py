"""WebDataset TARs -> an iterator of samples for training: whole archives per share, resumed at the byte where it stood.

An epoch is the split's archives in an order that depends on (seed, epoch) alone. Every worker of every rank reads a run of them,
runs being cut so that each has about as many bytes. Samples are not counted, for that would read everything: ranks may have
different numbers of them, and a state holds for one share. Who needs rows shuffled and shared evenly has Parquet and `stream`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import accumulate
from multiprocessing import RawValue
from multiprocessing.context import get_spawning_popen
from typing import Any

from pipeline.errors import CorruptFileError
from pipeline.formats.webdataset import KEY, Sample, located_samples
from pipeline.hub.files import open_ref
from pipeline.hub.listing import list_files
from pipeline.hub.ranges import file_refs
from pipeline.hub.repo import Secret, find_token, parse_ref
from pipeline.hub.resolver import TAR_FILES, DataFiles, select_split
from pipeline.permutation import Permutation
from pipeline.storage import FileRef
from pipeline.streaming.decode import row_decoder
from pipeline.streaming.options import check_whole
from pipeline.streaming.seats import find_rank, find_worker, torch_class
from pipeline.streaming.shares import Interval, Seat
from pipeline.streaming.state import Position, from_json, identity_of, share_of, to_json

_REF_TTL_S = 30.0
_TEXTS = ("txt", "text", "transcript")
_NUMBERS = ("cls", "cls2", "class", "count", "index", "inx", "id")
_MEDIA = {
    **dict.fromkeys(("json", "jsn"), "Json"),
    **dict.fromkeys(("jpg", "jpeg", "png", "webp", "bmp", "gif", "tif", "tiff", "ppm", "pgm"), "Image"),
    **dict.fromkeys(("wav", "flac", "mp3", "ogg", "opus"), "Audio"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tars:
    """The archives of a pinned split, and how they are ordered and shared."""

    identity: dict[str, str]
    files: tuple[FileRef, ...]
    token: Secret | None
    shuffle: bool
    seed: int
    seat: Seat
    decode: bool

    def order(self, epoch: int) -> list[FileRef]:
        """The archives as an epoch has them."""
        if not self.shuffle:
            return list(self.files)
        numbers = Permutation(len(self.files), self.seed, f"stream tars {epoch}").of_range(0, len(self.files))
        return [self.files[number] for number in numbers.to_pylist()]


@dataclass(slots=True, kw_only=True)
class Place:
    """Where a share is: the `offset` in the archive of number `tar` in its epoch's order; `None` is the share's beginning."""

    position: Position
    tar: int | None = None
    offset: int = 0


def samples(
    dataset: str,
    *,
    split: str | None = None,
    config: str | None = None,
    data_files: DataFiles | None = None,
    revision: str | None = None,
    shuffle: bool = False,
    seed: int = 0,
    rank: int | None = None,
    world_size: int | None = None,
    decode: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
) -> Samples:
    """The samples of a split's TAR archives (.tar, .tar.gz, .tgz): dicts of `__key__` and bytes by extension, as WebDataset.

    Which archives are the split is told as for Parquet: by `data_files`, the card, or their names. With `shuffle`, archives come
    in an order that depends on `seed` and epoch; samples keep theirs in an archive. Each rank, and each worker in it, reads whole
    archives, none of them those of another. With `decode`, images, audio, JSON, texts and class numbers are what they mean,
    by extension; nothing is unpickled.

    Raises NotFoundError, AccessError, OptionError here; CorruptFileError and TransferError, which name the file, while iterating.
    """
    rank, world_size = find_rank(rank, world_size)
    check_whole("seed", seed)
    ref = parse_ref(dataset, revision=revision, config=config, split=split, endpoint=endpoint)
    secret = find_token(ref.endpoint, token)
    listing = list_files(ref, secret, ttl_s=_REF_TTL_S)
    snapshot = select_split(listing, ref, data_files=data_files, kind=TAR_FILES)
    return Samples(
        Tars(
            identity={**identity_of(snapshot), "format": "tar"},
            files=file_refs(snapshot),
            token=secret,
            shuffle=shuffle,
            seed=seed,
            seat=Seat(world_size=world_size, rank=rank),
            decode=decode,
        )
    )


class Samples:
    """The samples of a split; see `pipeline.samples`, which makes it.

    It iterates as often as one likes: the samples of its epoch, or those that are left of it when a state of that epoch was
    loaded. A loaded state stays loaded; `set_epoch` goes on to the next ones. In workers of a torch DataLoader each gives its own
    share; take states there, as torchdata's StatefulDataLoader does.
    """

    def __init__(self, tars: Tars, start: Place | None = None, epoch: Any = 0) -> None:
        self.tars = tars
        self._epoch = RawValue("q", epoch) if isinstance(epoch, int) else epoch
        self._start = start or Place(position=Position())
        self._now: Place | None = None

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return torch_class(Samples)

    def __reduce__(self) -> tuple[Any, ...]:
        # Shared memory can be handed to a process that is being started, and to no other.
        epoch = self.epoch if get_spawning_popen() is None else self._epoch
        return Samples, (self.tars, self._start, epoch)

    def __repr__(self) -> str:
        seat = self.tars.seat
        about = f"{self.tars.identity['dataset']}@{self.tars.identity['commit'][:8]}"
        return f"Samples({about!r}, rank={seat.rank}, world_size={seat.world_size}, epoch={self.epoch})"

    def __iter__(self) -> Iterator[dict[str, Any]]:
        seat, begun = self.seat(), self._begun()
        begun.position.check_seat(seat)
        order = self.tars.order(self.epoch)
        first, last = cut_runs([file.size for file in order], seat.shares)[seat.number]
        position = Position(epoch=self.epoch, share=share_of(seat))
        tar, offset = (first, 0) if begun.tar is None else (begun.tar, begun.offset)
        self._now = replace(begun) if begun.tar is None else Place(position=position, tar=tar, offset=offset)
        return self._follow(self._now, position, order[:last], tar, offset)

    @property
    def epoch(self) -> int:
        """The epoch that the next iteration gives."""
        return int(self._epoch.value)

    def set_epoch(self, epoch: int) -> None:
        """Give the samples of this epoch from the next iteration on, here and in workers that are running already."""
        check_whole("epoch", epoch, 0)
        self._epoch.value = epoch

    def seat(self) -> Seat:
        """Which share this process reads."""
        worker, workers = find_worker() or (0, 1)
        return replace(self.tars.seat, workers=workers, worker=worker)

    def state_dict(self) -> dict[str, Any]:
        """Where this process's share stands, as JSON; samples that were yielded count as taken. It holds for this share alone."""
        now = self._now
        if now is None or now.position.epoch != self.epoch:
            now = self._begun()
        state = to_json(now.position, self.tars.seed, self._fingerprint())
        return {**state, "tar": now.tar, "offset": now.offset}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where the state was taken, in its epoch, without reading what is behind it.

        Raises OptionError for the state of another dataset, commit or order; when iterating, for one of another share.
        """
        position = from_json(state, self.tars.seed, self._fingerprint())
        tar, offset = state.get("tar"), state.get("offset")
        if tar is not None:
            check_whole("the state's tar", tar, 0)
        check_whole("the state's offset", offset, 0)
        self._start, self._now = Place(position=position, tar=tar, offset=int(offset or 0)), None
        self.set_epoch(position.epoch)

    def _begun(self) -> Place:
        epoch = self.epoch
        return self._start if self._start.position.epoch == epoch else Place(position=Position(epoch=epoch))

    def _fingerprint(self) -> dict[str, Any]:
        return {**self.tars.identity, "shuffle": self.tars.shuffle}

    def _follow(
        self, now: Place, position: Position, order: Sequence[FileRef], tar: int, offset: int
    ) -> Generator[dict[str, Any]]:
        for number in range(tar, len(order)):
            start = offset if number == tar else 0
            with closing(self._read(order[number], start)) as found:
                for sample, end in found:
                    now.position, now.tar, now.offset = position, number, end
                    yield sample

    def _read(self, file: FileRef, start: int) -> Generator[tuple[dict[str, Any], int]]:
        with open_ref(file, self.tars.token) as opened:
            for sample, end in located_samples(opened, about=file.uri, start=start):
                yield decode_sample(sample, file.uri) if self.tars.decode else sample, end


def cut_runs(sizes: Sequence[int], shares: int) -> list[Interval]:
    """The archives, from their sizes, in so many runs of about as many bytes; none is empty while there are enough."""
    ends = list(accumulate(sizes, initial=0))
    least = 1 if len(sizes) >= shares else 0
    bounds = [0]
    for number in range(1, shares):
        wanted = ends[-1] * number // shares
        at = bisect_left(ends, wanted)
        nearest = at - 1 if at and wanted - ends[at - 1] < ends[at] - wanted else at
        bounds.append(min(max(nearest, bounds[-1] + least), len(sizes) - least * (shares - number)))
    return list(zip(bounds, [*bounds[1:], len(sizes)], strict=True))


def decode_sample(sample: Sample, about: str) -> dict[str, Any]:
    """A sample whose fields are what the last part of their extensions says. Raises CorruptFileError for those that are not."""
    kinds = {field: field.rsplit(".", 1)[-1] for field in sample if field != KEY}
    found: dict[str, Any] = dict(sample)
    try:
        for field, kind in kinds.items():
            content = sample[field]
            if isinstance(content, bytes) and kind in _TEXTS:
                found[field] = content.decode()
            elif isinstance(content, bytes) and kind in _NUMBERS:
                found[field] = int(content)
        features = {field: {"_type": _MEDIA[kind]} for field, kind in kinds.items() if kind in _MEDIA}
        return row_decoder(features)(found)
    except ValueError as err:  # CorruptFileError too
        raise CorruptFileError(f"{about}: sample {sample[KEY]!r}: {err}") from err
