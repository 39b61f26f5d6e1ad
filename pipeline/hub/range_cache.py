"""Ranges kept on this machine's disk, so that later epochs need no network: as many as fit, those used longest ago go first."""

from __future__ import annotations

import threading

from pipeline.hub import cache
from pipeline.hub.repo import Secret
from pipeline.storage import FileRef, Meter, RangeReader

KIND = "range"
# Room is made whenever this part of it was filled; a range larger than that part of it is not kept.
_TRIMS, _LARGEST = 16, 4


class CachedReader:
    """Ranges of one file, from the disk where they are there."""

    def __init__(self, reader: RangeReader, file: FileRef, token: Secret | None, room: Room, meter: Meter) -> None:
        self._reader = reader
        self._key = (KIND, cache.owner(token), file.endpoint or "", file.content_id, str(file.size))
        self._room = room
        self._meter = meter

    def read(self, start: int, end: int) -> bytes:
        key = (*self._key, f"{start}-{end}")
        data = cache.load(key, used=True)
        if data is not None and len(data) == end - start:
            self._meter.add("disk")
            return data
        data = self._reader.read(start, end)
        self._room.keep(key, data)
        return data

    def forget(self, start: int, end: int) -> None:
        """Drop a range that turned out to be damaged."""
        cache.drop((*self._key, f"{start}-{end}"))

    def close(self) -> None:
        self._reader.close()


class Room:
    """At most `max_bytes` of ranges on the disk, of all processes together, give or take what is being written."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._since_trim = max_bytes  # what others have left there is looked at before the first range is kept

    def keep(self, key: cache.Key, data: bytes) -> None:
        """Keep a range, unless it is too large for the room."""
        if len(data) > self._max_bytes // _LARGEST:
            return
        cache.store(key, data)
        with self._lock:
            self._since_trim += len(data)
            if self._since_trim < self._max_bytes // _TRIMS:
                return
            self._since_trim = 0
        cache.trim(KIND, self._max_bytes - self._max_bytes // _TRIMS)
