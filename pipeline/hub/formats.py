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
        for ending in path.rsplit("/", 1)[-1].lower().split(".")[1:]
        if ending in _FORMATS
    )
    return sorted(found, key=lambda name: (-found[name], name != PARQUET, name))
