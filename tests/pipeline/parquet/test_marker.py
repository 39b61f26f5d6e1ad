"""Pads end chunks in Xet storage: ours do with the installed hf_xet, and if ever they do not, others that do are found."""

import io
import random

import pyarrow as pa
import pytest

from pipeline.hub.local_store import local_store
from pipeline.parquet import marker as markers
from pipeline.parquet.block_file import BlockFile
from pipeline.parquet.layout import MARKER, Kind, Layout
from pipeline.parquet.marker import ends_chunks, working_marker

DEAD = b"0123456789abcdef" * 4


def test_our_marker_ends_chunks():
    """The installed hf_xet cuts at our marker; the check sees where one does not."""
    with local_store() as measure:
        assert ends_chunks(measure, MARKER)
        assert not ends_chunks(measure, DEAD)
        assert working_marker(measure) == MARKER


def test_another_marker_is_found_when_ours_is_dead(monkeypatch):
    """It is text of the same length, the same one each time, and ends chunks as ours did."""
    monkeypatch.setattr(markers, "MARKER", DEAD)
    found = []
    for _ in range(2):
        with local_store() as measure:
            found.append(working_marker(measure))
            assert ends_chunks(measure, found[-1])
    assert found[0] == found[1] != MARKER
    assert found[0].decode().isalnum()
    assert len(found[0]) == len(MARKER)


def test_a_storage_without_deduplication_leaves_ours():
    """Where nothing is ever known, no marker helps, and none is looked for without end."""
    assert working_marker(len) == MARKER


@pytest.mark.parametrize("marker", [MARKER, DEAD])
def test_blocks_deduplicate_at_any_offset_by_their_pads(marker):
    """Two files share a block of 200 KB at different offsets: it is stored once if its pad's marker ends chunks, and not else."""
    rng = random.Random("offset")
    schema = pa.schema([("raw", pa.binary())])
    rows = {size: pa.table({"raw": [rng.randbytes(size)]}, schema=schema) for size in (50_001, 200_000, 99_999, 70_070)}
    sizes = []
    with local_store() as measure:
        for order in ((50_001, 200_000), (99_999, 70_070, 200_000)):
            sink = io.BytesIO()
            file = BlockFile(
                sink, schema, layout=Layout(kind=Kind.BLOCKS, marker=marker), features=None, identity=str(order)
            )
            for size in order:
                file.write_row_group(rows[size])
            file.close()
            sizes.append(measure(sink.getvalue()))
    others = 99_999 + 70_070 + 4 * 8_500
    assert (sizes[1] < others) == (marker == MARKER)
