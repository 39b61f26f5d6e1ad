"""Arrow files: streams and files, the features in their metadata, types that hold others, damage."""

import bz2
import gzip
import io
import lzma
import random

import pyarrow as pa
import pytest

from pipeline.errors import CorruptFileError, DatasetError, SchemaError, TransferError
from pipeline.formats import csv_text, opening
from pipeline.formats.arrow import arrow_format
from pipeline.formats.csv import csv_format
from pipeline.formats.json import json_format
from pipeline.formats.text import text_format
from pipeline.parquet.features import features_of, with_features

MAKERS = {"stream": pa.ipc.new_stream, "file": pa.ipc.new_file}


def arrow_bytes(table, make=pa.ipc.new_stream, rows=None):
    """A table as a stream or file, in batches of so many rows."""
    sink = io.BytesIO()
    with make(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)
    return sink.getvalue()


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_file_has_its_features_and_rows(make, local, read_all):
    """Dictionaries and views are what they hold; a batch is as large as any other format's."""
    table = pa.table(
        {
            "label": pa.array([0, 1] * 10_000),
            "word": pa.array(["a", None] * 10_000).dictionary_encode(),
            "view": pa.array(["x"] * 20_000, pa.string_view()),
            "list": pa.array([[1]] * 20_000, pa.list_(pa.field("odd", pa.int8()))),
        }
    )
    features = {
        **(features_of(table.drop_columns(["view"]).schema) or {}),
        "label": {"names": ["n", "y"], "_type": "ClassLabel"},
    }
    file = local(arrow_bytes(table.cast(with_features(table.schema, features)), make))
    schema, rows = read_all(arrow_format({}), [file])
    assert [schema.field(name).type for name in ("word", "view")] == [pa.string(), pa.string()]
    assert features_of(schema)["label"] == features["label"]
    assert rows == table.to_pylist()
    (task,) = arrow_format({}).plan([file], None, 1)
    assert max(batch.num_rows for batch in arrow_format({}).read(task, schema, None, ["list"])) <= 10_000


def test_files_may_lack_columns_and_no_others_may_be_there(local, read_all):
    """As in `datasets`."""
    first = local(arrow_bytes(pa.table({"a": [1], "b": ["x"]})))
    _, rows = read_all(arrow_format({}), [first, local(arrow_bytes(pa.table({"b": ["y"]})))])
    assert rows == [{"a": 1, "b": "x"}, {"a": None, "b": "y"}]
    with pytest.raises(SchemaError, match=r"c\.arrow: column 'c' is not in"):
        read_all(arrow_format({}), [first, local(arrow_bytes(pa.table({"c": [1]})), "c.arrow")])


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("kept", [5, 100, 0.5, 0.9, -9])
def test_a_file_cut_short_is_told_by_name(make, kept, local, read_all):
    """In one line, wherever it was cut. A stream that is cut between two batches looks like its end."""
    data = arrow_bytes(pa.table({"a": list(range(1000)), "s": [str(number) for number in range(1000)]}), make, 100)
    cut = data[: int(len(data) * kept) if isinstance(kept, float) else kept]
    with pytest.raises(CorruptFileError, match=r"cut\.arrow") as caught:
        read_all(arrow_format({}), [local(cut, "cut.arrow")])
    assert "\n" not in str(caught.value)


class _Failing(io.RawIOBase):
    """A stream that ends in an error of the network."""

    def __init__(self, data):
        self._data = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        found = self._data.read(len(buffer))
        if not found:
            raise TransferError("the network gave up")
        buffer[: len(found)] = found
        return len(found)


@pytest.mark.parametrize("codec", ["gz", "bz2", "xz", "zstd", "lz4"])
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_damage_to_a_packed_file_is_told_by_name(codec, damage, local, read_all):
    """Whichever library unpacks it."""
    text = "".join(f"{random.Random(number).random()}\n" for number in range(9000)).encode()
    sink = pa.BufferOutputStream()
    if codec in ("zstd", "lz4"):
        with pa.CompressedOutputStream(sink, codec) as stream:
            stream.write(text)
    pack = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}.get(codec)
    data = bytearray(pack(text) if pack else sink.getvalue().to_pybytes())
    if damage == "cut":
        del data[-500:]
    else:
        data[len(data) // 2 : len(data) // 2 + 300] = bytes(300)
    with pytest.raises(CorruptFileError, match=r"packed\.txt"):
        read_all(text_format({}), [local(bytes(data), "packed.txt")])


@pytest.mark.parametrize(
    ("format", "data"),
    [
        (arrow_format({}), arrow_bytes(pa.table({"a": [1] * 1000}), rows=10)[:-20]),
        (csv_format({}), b"a,b\n" + b"1,2\n" * 10),
        (json_format({}), b'{"a":1}\n' * 10),
    ],
)
def test_an_error_of_the_network_stays_one(format, data, local, read_all, monkeypatch):
    """It is no damage of the file: it may be tried again."""
    monkeypatch.setattr(opening, "open_ref", lambda *_: io.BufferedReader(_Failing(data)))
    assert csv_text.opened is opening.opened
    with pytest.raises(DatasetError) as caught:
        read_all(format, [local(data)])
    assert isinstance(caught.value, TransferError)
