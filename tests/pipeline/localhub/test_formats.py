"""Hashes, xorbs and shards, as the Xet specification has them."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.localhub.answers import HubError, parse_range
from pipeline.localhub.hashing import _NODE_KEY, MerkleTree, chunk_hash, from_hex, to_hex
from pipeline.localhub.routes import ROUTER
from pipeline.localhub.routes import __doc__ as table
from pipeline.localhub.xorb_format import RECORD, XorbReader

HASH = st.binary(min_size=32, max_size=32)


@given(HASH)
def test_a_hash_reads_back_what_it_wrote(digest):
    """Hexadecimal text is four little-endian numbers, and back."""
    assert from_hex(to_hex(digest)) == digest
    assert int(to_hex(digest)[48:], 16) == int.from_bytes(digest[24:], "little")


@given(st.lists(st.tuples(HASH, st.integers(1, 2**17)), max_size=300))
def test_the_tree_is_the_one_of_the_specification(leaves):
    """Adding chunks one by one gives the root that the definition, level by level over the whole list, gives."""
    tree = MerkleTree()
    for digest, size in leaves:
        tree.add(digest, size)
    assert tree.root() == root_by_definition(leaves)


def root_by_definition(level):
    """Cut each level after a hash divisible by 4, in groups of 3 to 9, and join each group, until one is left."""
    from blake3 import blake3

    if not level:
        return bytes(32)
    while len(level) > 1:
        groups = [[]]
        for node in level:
            if groups[-1] and (len(groups[-1]) == 9 or (len(groups[-1]) > 2 and groups[-1][-1][0][24] % 4 == 0)):
                groups.append([])
            groups[-1].append(node)
        level = [
            (
                blake3("".join(f"{to_hex(d)} : {s}\n" for d, s in group).encode(), key=_NODE_KEY).digest(),
                sum(size for _, size in group),
            )
            for group in groups
        ]
    return level[0][0]


def test_hf_xet_names_files_alike(tmp_path, client):
    """hf_xet's own hash of a file of one chunk is ours (files of many chunks: every upload in these tests)."""
    import hf_xet

    paths = []
    for size in (1, 100, 8000):
        path = tmp_path / f"{size}.bin"
        path.write_bytes(bytes(range(256)) * 40)
        with path.open("r+b") as file:
            file.truncate(size)
        paths.append(path)
    for path, info in zip(paths, hf_xet.hash_files([str(path) for path in paths]), strict=True):
        tree = MerkleTree()
        tree.add(chunk_hash(path.read_bytes()), path.stat().st_size)
        assert to_hex(tree.file_root()) == info.hash


def encode(data, scheme):
    """A chunk of a xorb, compressed as its scheme says."""
    grouped = b"".join(data[position::4] for position in range(4)) if scheme == 2 else data
    stored = pa.compress(grouped, codec="lz4", asbytes=True) if scheme else data
    return b"\0" + len(stored).to_bytes(3, "little") + bytes([scheme]) + len(data).to_bytes(3, "little") + stored


CHUNKS = st.lists(st.tuples(st.binary(min_size=1, max_size=3000), st.sampled_from([0, 1, 2])), min_size=1, max_size=12)


@given(CHUNKS, st.integers(1, 5000))
def test_a_xorb_reads_the_same_however_it_arrives(chunks, block):
    """Any compression, any cut into blocks: the chunks' hashes and ends are those of the data."""
    body = b"".join(encode(data, scheme) for data, scheme in chunks)
    reader, tree = XorbReader(), MerkleTree()
    for start in range(0, len(body), block):
        reader.feed(body[start : start + block])
    root, records = reader.finish()
    raw = stored = 0
    for (data, scheme), record in zip(chunks, RECORD.iter_unpack(records), strict=True):
        tree.add(chunk_hash(data), len(data))
        raw, stored = raw + len(data), stored + len(encode(data, scheme))
        assert record == (chunk_hash(data), raw, stored)
    assert root == tree.root()


@given(CHUNKS, st.data())
def test_a_broken_xorb_is_refused_or_another_one(chunks, data):
    """One changed byte never gives the same root, and never another error than the one for clients."""
    body = bytearray(b"".join(encode(raw, scheme) for raw, scheme in chunks))
    good = XorbReader()
    good.feed(bytes(body))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    bad = XorbReader()
    try:
        bad.feed(bytes(body))
        root = bad.finish()[0]
    except HubError as err:
        root, status = None, err.status
    assert status == 400 if root is None else root != good.finish()[0] or chunks_are_equal(bytes(body), chunks)


def chunks_are_equal(body, chunks):
    """Whether a body with another compressed form still holds the same data (LZ4 frames have bits that do not matter)."""
    reader, tree = XorbReader(), MerkleTree()
    reader.feed(body)
    for data, _ in chunks:
        tree.add(chunk_hash(data), len(data))
    return reader.finish()[0] == tree.root()


NUMBER = st.none() | st.integers(0, 120)


@given(st.integers(0, 100), NUMBER, NUMBER)
def test_a_range_is_what_the_http_standard_says(total, first, last):
    """First and last byte, an open end, or the last so many; no range at all counts as none, one without a byte is 416."""
    data = bytes(range(total))
    header = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    end = total if first is None or last is None else last + 1
    want = data[max(0, total - (last or 0)) if first is None else first : end]
    if first is last is None or (first is not None and last is not None and last < first):
        assert parse_range(header, total) is None
    elif not want:
        with pytest.raises(HubError, match="not satisfiable"):
            parse_range(header, total)
    else:
        span = parse_range(header, total)
        assert data[span.start : span.end] == want


def test_the_table_of_routes_names_every_route():
    """The names by which requests are counted are all in the table at the top of the module."""
    assert all(f"`{name}`" in table for name in ROUTER.names)


def test_a_hub_without_its_packages_says_what_to_install(monkeypatch):
    """Importing the package costs nothing; using it without starlette is one line that names the extra."""
    import sys

    import pipeline.localhub
    from pipeline.errors import SetupError

    for name in [name for name in sys.modules if name.startswith("pipeline.localhub.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SetupError, match=r"install xet-pipeline\[hub\]"):
        _ = pipeline.localhub.LocalHub
