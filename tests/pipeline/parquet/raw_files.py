"""Files in memory whose row groups are copied, and what must be true of the copies' page indexes."""

import io
import struct

from pyarrow import parquet as pq

from pipeline.parquet.block_file import BlockFile
from pipeline.parquet.footer import Footer
from pipeline.parquet.layout import Kind, Layout
from pipeline.parquet.rowgroup_copy import RawGroup
from pipeline.parquet.thrift import STRUCT, fields, integer, items

BLOCKS = Layout(kind=Kind.BLOCKS)


def footer_of(data):
    """A file's footer."""
    length = struct.unpack("<I", data[-8:-4])[0]
    return Footer(raw=data[-8 - length : -8])


class Source:
    """A file in memory that row groups are copied from, and a record of what was read of it."""

    def __init__(self, data):
        self.data, self.footer, self.read_ranges = data, footer_of(data), []

    @property
    def groups(self):
        return [
            RawGroup(footer=self.footer, position=position, read=self.read)
            for position in range(self.footer.metadata().num_row_groups)
        ]

    def read(self, start, end):
        self.read_ranges.append((start, end))
        return memoryview(self.data)[start:end]


def copied(schema, columns, blocks, constants=None, identity=""):
    """A file of these blocks."""
    sink = io.BytesIO()
    file = BlockFile(sink, schema, layout=BLOCKS, features=None, identity=identity)
    for block in blocks:
        file.copy_block(block, columns, constants)
    written = file.close()
    assert written.size == len(sink.getvalue())
    assert written.rows == pq.read_metadata(sink).num_rows
    return sink.getvalue()


def check_pages(data):
    """Each page that an offset index names begins with a page header there, is as long as it says, and they fill the chunk."""
    metadata, raw = pq.read_metadata(io.BytesIO(data)), footer_of(data).raw
    groups = items(raw, fields(raw, 0)[0][4], STRUCT)
    checked = 0
    for place, extent in enumerate(groups):
        group, _ = fields(raw, extent.start)
        if 5 in group and 7 not in group:  # one of ours
            assert integer(raw, group[5]) == min(footer_of(data).row_group(place).ranges())[0]
        for number, chunk in enumerate(items(raw, group[1], STRUCT)):
            outer, _ = fields(raw, chunk.start)
            column = metadata.row_group(place).column(number)
            if 4 not in outer:
                continue
            index = data[integer(raw, outer[4]) :][: integer(raw, outer[5])]
            locations = [fields(index, page.start)[0] for page in items(index, fields(index, 0)[0][1], STRUCT)]
            at = column.data_page_offset
            for location in locations:
                assert integer(index, location[1]) == at
                header, end = fields(data, at)
                assert end - at + integer(data, header[3]) == integer(index, location[2])
                at += integer(index, location[2])
                checked += 1
            first = column.dictionary_page_offset or column.data_page_offset
            assert at - first == column.total_compressed_size
    return checked
