"""Repos in every format on the embedded Hub: features, splits, values and their order are those of `datasets`."""

import bz2
import gzip
import io
import json
import lzma
import struct
import tarfile
import zlib
from dataclasses import replace

import pyarrow as pa
import pytest


def packed_by_arrow(data, codec):
    """Bytes packed as zstd or lz4."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def arrow_bytes(table, make):
    """A table as an IPC stream or file."""
    sink = io.BytesIO()
    with make(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return sink.getvalue()


def lines(*rows):
    """Rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def png(grey):
    """A picture of one pixel."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes([0, grey]))),
        (b"IEND", b""),
    ]
    parts = [struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tar(files, mode="w"):
    """An archive of files."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode=mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return sink.getvalue()


def card(configs="", infos=""):
    """A README with YAML."""
    yaml = (f"configs:\n{configs}\n" if configs else "") + (f"dataset_info:\n{infos}\n" if infos else "")
    return {"README.md": f"---\n{yaml}---\n"}


TABLE = pa.table({"a": [1, 2, 3], "d": [[1.5], None, []], "s": [{"x": "y"}, {"x": None}, None]})
NESTED = lines({"a": 1, "b": {"c": [1, 2]}}, {"a": None, "b": {"c": []}})
MIXED = lines({"a": 1, "b": {"x": [1]}, "l": [{"k": 1}]}, {"a": "t", "b": {"y": None}, "l": [{"m": 2}, None]})
SAMPLES = {
    f"{number}/{number}.{field}": content
    for number in range(3)
    for field, content in {
        "jpg": png(number),
        "json": json.dumps({"n": number, "t": [str(number)]}).encode(),
        "cls": b"7",
        "Seg.TXT": "ä".encode(),
        "bin": b"\0",
        "note.txt.gz": gzip.compress(b"packed"),
    }.items()
}
LABELLED = """- config_name: default
  features: [{name: label, dtype: {class_label: {names: {'0': nay, '1': yea}}}}, {name: n, dtype: int32}]"""
REPOS = {
    "csv": {"train.csv": "a,b\n1,x\n2,NA\n", "test.csv": 'a,b\n,"y\nz"\n'},
    "csv by the card": {
        "x.csv": b"junk\n1;'\xe4';NA\n2;-;b\n",
        **card(
            "- {config_name: default, data_files: x.csv, sep: ';', quotechar: \"'\", column_names: [a, b, c], skiprows: 1, "
            "na_values: ['-'], keep_default_na: false, encoding: latin-1}"
        ),
    },
    "csv with labels": {"x.csv": "label,n\nnay,1\nyea,2\n,3\n", **card(infos=LABELLED)},
    "tsv": {"a.tsv": "a\tb\n1\tx,y\n"},
    "csv of two configs": {
        "x/a.csv": "a\n1\n",
        "y/a.csv": "b\nz\n",
        **card("- {config_name: x, data_dir: x}\n- {config_name: default, data_dir: y}"),
    },
    "csv.gz": {"data/train-00000-of-00001.csv.gz": gzip.compress(b"a,b\n1,x\n")},
    "csv.bz2": {"a.csv.bz2": bz2.compress(b"a,b\n1,x\n")},
    "csv beside other files": {"train.csv": "a\n1\n", "notes.txt": "no row", "plot.png": png(0), "test.csv": "a\n2\n"},
    "jsonl": {"a.jsonl": NESTED, "b.jsonl": lines({"a": 3, "b": None})},
    "jsonl of mixed types": {"a.jsonl": MIXED, "b.jsonl": lines({"a": None, "b": "s", "l": []})},
    "json": {"a.json": json.dumps([{"a": 1, "t": "2020-01-01 00:00:00"}, {"a": 2, "t": None}], indent=2)},
    "json by the card": {
        "a.json": json.dumps({"version": "1", "rows": [{"a": 1, "b": ["x"]}, {"a": 2, "b": []}]}),
        **card("- {config_name: default, data_files: a.json, field: rows}"),
    },
    "arrow streams": {
        "a.arrow": arrow_bytes(TABLE, pa.ipc.new_stream),
        "b.arrow": arrow_bytes(TABLE, pa.ipc.new_stream),
    },
    "arrow files": {"a.arrow": arrow_bytes(TABLE, pa.ipc.new_file)},
    "text": {"train.txt": "a\n\nb\r\nc", "validation.txt.xz": lzma.compress(b"d\n")},
    "text by the card": {
        "a.txt": "a\nb\n\nc\n\n\n",
        **card("- {config_name: default, data_files: a.txt, sample_by: paragraph}"),
    },
    "tar": {"a.tar": tar({**SAMPLES, "a/": b"", "a/.hidden.txt.x": b"", "b/__skipped.txt": b"x", "none": b""})},
    "tar.gz": {"a.tar.gz": tar(SAMPLES, "w:gz")},
    "images by folder": {f"train/{kind}/{i}.png": png(i) for kind in ("dog", "cat") for i in range(2)}
    | {"train/cat/2.JPG": png(7)},
    "images": {"a.png": png(1), "b/c.png": png(2)},
    "images with labels to drop": {
        "x/a.png": png(1),
        "y/a.png": png(2),
        **card("- {config_name: default, data_files: '*/*.png', drop_labels: true}"),
    },
    "images with metadata.csv": {
        "train/metadata.csv": "file_name,text,n\nb.png,two,\na.png,one,1\n",
        "train/a.png": png(1),
        "train/b.png": png(2),
        "test/x/a.png": png(3),
        "test/metadata.csv": "file_name,text,n\nx/a.png,three,\n",
    },
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("files", REPOS.values(), ids=REPOS)
def test_a_repo_is_read_as_datasets_reads_it(files, put, repo, ours, theirs):
    """Splits, features, rows, and the order of all of them."""
    ref = replace(put(repo, files), split="*")
    found, expected = ours(ref), theirs(ref)
    assert list(found) == list(expected)
    for split, (features, rows) in expected.items():
        assert found[split][0] == features
        assert list(found[split][0]) == list(features)
        assert [neutral(row) for row in found[split][1]] == [neutral(row) for row in rows]


def neutral(row):
    """A row without what cannot be the same: where an archive was downloaded to."""
    return {name: value for name, value in row.items() if name != "__url__"}


@pytest.mark.parametrize("name", ["a.jsonl.zst", "a.ndjson.lz4"])
def test_what_datasets_needs_a_library_for_is_unpacked(name, put, repo, ours):
    """zstd and lz4 come with pyarrow."""
    codec = {"zst": "zstd"}.get(name[-3:], "lz4")
    ref = put(repo, {name: packed_by_arrow(NESTED.encode(), codec)})
    assert ours(ref)["train"][1] == [json.loads(line) for line in NESTED.splitlines()]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_folder_of_audio_has_its_metadata(put, repo, ours):
    """The features of `datasets`, which needs torchcodec to give rows; a row without a file has none."""
    from datasets import load_dataset

    rows = lines({"id": 1, "file_name": "x/a.wav", "t": {"k": [1]}}, {"id": 2, "file_name": None, "t": None})
    ref = put(repo, {"data/metadata.jsonl": rows, "data/x/a.wav": b"RIFF"})
    features, found = ours(ref)["train"]
    assert features == load_dataset(repo, split="train", streaming=True).features.to_dict()
    audio = {"bytes": b"RIFF", "path": "a.wav"}
    assert found == [{"id": 1, "audio": audio, "t": {"k": [1]}}, {"id": 2, "audio": None, "t": None}]
