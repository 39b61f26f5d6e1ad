"""The formats that a repo's rows are in, as `datasets` tells them: by the endings of its files, the most common one counts.

We write Parquet only, and read what `READABLE` names. A repo in another format must be told apart from an empty one: a card that
names only our new files would hide its rows from everybody. What people keep next to rows (code, Markdown, licences) is none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

PARQUET, IMAGES, AUDIO = "parquet", "images", "audio"
READABLE = (PARQUET, "csv", "json", "arrow", "text", "webdataset", IMAGES, AUDIO)
METADATA_NAMES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
"""What describes the files of a folder of media, next to them."""
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
    "eval": "eval",
    "lance": "lance",
    "tsfile": "tsfile",
    "vortex": "vortex",
    "fasta": "fa fasta fna ffn faa frn afa",
    "genbank": "gb gbk genbank",
    "fastq": "fq fastq",
    "pdb": "pdb ent",
    "mmcif": "cif mmcif",
    "zip": "zip",
    "images": "png jpg jpeg gif bmp tif tiff webp apng blp bufr bw cur dcx dds dib emf eps fit fits flc fli ftc ftu gbr grib "
    "icb icns ico iim im j2c j2k jfif jp2 jpc jpe jpf jpx msp pbm pcd pcx pgm pnm ppm ps psd pxr ras rgb rgba sgi tga vda vst "
    "wmf xbm xpm",
    "audio": "wav mp3 flac ogg opus m4a aiff au avr caf htk ircam mat4 mat5 mpc2k nist paf pvf raw rf64 sd2 sds svx voc w64 "
    "wavex wve xi",
    "video": "mp4 avi mov mkv mpeg webm 3g2 3gp asf f4v flv m4v mpg mxf nut ogm wma wmv",
    "mesh": "glb gltf ply stl",
    "nifti": "nii",
    "pdf": "pdf",
}
_PARQUET_ENDINGS = tuple(f".{ending}" for ending in _ENDINGS[PARQUET].split())
# `datasets` looks at each ending that a name has: "part-0.parquet.snappy" is Parquet.
_PARQUET_NAME = re.compile(rf"(?:{'|'.join(map(re.escape, _PARQUET_ENDINGS))})(?:\.[^/]*)?\Z")
_FORMATS = {ending: name for name, endings in _ENDINGS.items() for ending in endings.split()}
_FAVOURITES = ("parquet", "lance", "vortex", "arrow", "jsonl", "json", "csv")
_NOT_ROWS = re.compile(
    r"(?:.*/)?(?:licen[cs]e|notice|copying|readme|changelog|requirements)[^/]*|(?:.*/)?metadata\.(?:csv|jsonl)",
    re.IGNORECASE,
)


def is_parquet(path: str) -> bool:
    """Whether `datasets` reads a file of this name as Parquet; endings in capitals are none to it."""
    return path.endswith(_PARQUET_ENDINGS) or bool(_PARQUET_NAME.search(path))


def formats_of(paths: Iterable[str]) -> list[str]:
    """The formats of these files, the most common one first; Parquet before another one as common."""
    found = Counter(
        _FORMATS[ending]
        for path in paths
        if not _NOT_ROWS.fullmatch(path)
        for ending in _endings(path)
        if ending in _FORMATS
    )
    return sorted(found, key=lambda name: (-found[name], name != PARQUET, name))


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKind:
    """The files that are data to a reader, and what it calls them."""

    name: str
    holds: Callable[[str], bool]


def kind_of(format: str) -> FileKind:
    """The files that `datasets` keeps for a format: by an ending that may have another one after it; and ZIP, to be refused."""
    endings = [f".{ending}" for ending in (*_ENDINGS[format].split(), "zip")]
    media = format in (IMAGES, AUDIO)
    if media:
        endings += [ending.upper() for ending in endings]
    names = METADATA_NAMES if media else ()
    found = re.compile(rf"(?:{'|'.join(map(re.escape, endings))})(?:\.[^/]*)?\Z").search
    return FileKind(name=format, holds=lambda path: bool(found(path)) or path.endswith(names))


def endings_of(format: str) -> tuple[str, ...]:
    """The endings of a format's files, in small letters and without dots."""
    return tuple(_ENDINGS[format].split())


def is_known(path: str) -> bool:
    """Whether a name has an ending of some format."""
    return any(ending in _FORMATS for ending in _endings(path))


def infer_format(paths: Iterable[str]) -> tuple[str | None, str]:
    """The format that `datasets` takes for a list of files, and the ending that told it; `None` where no ending is known.

    The most common ending counts, metadata files only where there is nothing else.
    """
    counted = Counter(
        (ending, path.rsplit("/", 1)[-1] in METADATA_NAMES) for path in paths for ending in _endings(path)
    )

    def rank(found: tuple[str, bool]) -> tuple[bool, int, list[bool], str]:
        ending, is_metadata = found
        return not is_metadata, counted[found], [ending == one for one in _FAVOURITES], ending

    for ending, _ in sorted(counted, key=rank, reverse=True):
        if ending in _FORMATS:
            return _FORMATS[ending], ending
    return None, ""


def _endings(path: str) -> list[str]:
    return path.rsplit("/", 1)[-1].lower().split(".")[1:]
