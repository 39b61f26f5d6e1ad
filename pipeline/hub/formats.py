"""The formats that a repo's rows are in, as `datasets` tells them: by the endings of its files, the most common one counts.

We read and write Parquet only. A repo in another format must be told apart from an empty one: a card that names only our new
files would hide its rows from everybody. What people keep next to rows (code, Markdown, licences) is none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

PARQUET = "parquet"
_ENDINGS = {
    "csv": "csv tsv",
    "json": "json jsonl ndjson",
    PARQUET: "parquet geoparquet gpq",
    "arrow": "arrow",
    "text": "txt",
    "conll": "conll conllu",
    "webdataset": "tar",
    "xml": "xml",
    "hdf5": "hdf5 h5",
    "lance": "lance",
    "vortex": "vortex",
    "zip": "zip",
    "images": "png jpg jpeg gif bmp tif tiff webp",
    "audio": "wav mp3 flac ogg opus m4a",
    "video": "mp4 avi mov mkv mpeg webm",
    "pdf": "pdf",
}
_FORMATS = {ending: name for name, endings in _ENDINGS.items() for ending in endings.split()}
_NOT_ROWS = re.compile(
    r"(?:.*/)?(?:licen[cs]e|notice|copying|readme|changelog|requirements)[^/]*|(?:.*/)?metadata\.(?:csv|jsonl)",
    re.IGNORECASE,
)


def formats_of(paths: Iterable[str]) -> list[str]:
    """The formats of these files, the most common one first; Parquet before another one as common."""
    found = Counter(
        _FORMATS[ending]
        for path in paths
        if not _NOT_ROWS.fullmatch(path)
        for ending in path.rsplit("/", 1)[-1].lower().split(".")[1:]
        if ending in _FORMATS
    )
    return sorted(found, key=lambda name: (-found[name], name != PARQUET, name))
