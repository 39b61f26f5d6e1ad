"""Rows through Spark's exchange and back, without losing a bit.

A shard's rows are read in pieces, brought together by shard, sorted by position, and written. Spark's types are fewer than
Arrow's (no nanoseconds, no unsigned or large types), and it makes every NaN the same, so columns travel as carriers: integers
with the same bits, lists for large and fixed-size lists, bytes for decimals. Columns travel under numbers, for Spark's names
ignore case and a dot means a field.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from pipeline.errors import CorruptFileError, SchemaError
from pipeline.hub.repo import Secret
from pipeline.mix.build import write_rows
from pipeline.mix.pieces import SHARD, exchange_schema, pieces_of, read_drawn
from pipeline.mix.plan import Plan
from pipeline.parquet.casts import cast
from pipeline.writing import ShardStore

if TYPE_CHECKING:
    from pyspark.accumulators import Accumulator
    from pyspark.sql import SparkSession

_PIECE_BYTES = 64 << 20
_INTS = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}


def exchange_rows(
    spark: SparkSession,
    plan: Plan,
    open_store: Callable[[], ShardStore],
    token: Secret | None,
    pending: Collection[int],
    stored: Accumulator[list[Any]],
) -> None:
    """Bring the rows of each pending shard together in order of position, and write them; `stored` gets shards and receipts.

    Raises SchemaError for a column that Spark cannot carry, CorruptFileError when rows are missing.
    """
    from pyspark import TaskContext
    from pyspark.sql.functions import col

    from spark_datasource.schemas import spark_schema

    carriers = carrier_schema(exchange_schema(plan))
    position, shard_of = carriers.names[:2]
    pieces = pieces_of(plan, _PIECE_BYTES)
    waiting = frozenset(pending)
    wanted = pa.array(sorted(pending), pa.int32()) if len(pending) < plan.shards else None
    shared = spark.sparkContext.broadcast((plan, pieces))

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        the_plan, the_pieces = shared.value
        for batch in batches:
            for piece in batch.column(0).to_pylist():
                for rows in read_drawn(the_plan, the_pieces[piece], token):
                    chosen = rows if wanted is None else rows.filter(pc.is_in(rows[SHARD], wanted))
                    yield pack(chosen, carriers)

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        the_plan = shared.value[0]
        task = TaskContext.get()
        assert task is not None
        shard = task.partitionId()
        if shard not in waiting:
            return
        rows = (unpack(batch.select(range(2, batch.num_columns)), the_plan.schema) for batch in batches)
        store = open_store()
        try:
            receipt = write_rows(the_plan, shard, rows, token, store)
        finally:
            store.abort()
        stored.add([(shard, receipt)])
        yield pa.record_batch([pa.array([shard])], names=["shard"])

    written = (
        spark.range(0, len(pieces), 1, len(pieces))
        .mapInArrow(read, spark_schema(carriers, None))
        .repartitionById(plan.shards, col(shard_of))
        .sortWithinPartitions(position)
        .mapInArrow(write, "shard long")
    )
    found = {row.shard for row in written.collect()}
    if missing := waiting - found:
        raise CorruptFileError(
            f"no rows came for {len(missing)} of {plan.shards} shards; a source changed, make a new plan"
        )


def carrier_schema(schema: pa.Schema) -> pa.Schema:
    """The schema in which rows of this one travel, columns named by number. Raises SchemaError naming a column."""
    for column in schema:
        if not _travels(column.type):
            raise SchemaError(
                f"column {column.name!r}: Spark cannot carry {column.type} through its exchange; "
                "leave the column out with 'columns', or set 'shuffle: blocks'"
            )
    return pa.schema([pa.field(f"c{number}", _carrier(column.type)) for number, column in enumerate(schema)])


def pack(batch: pa.RecordBatch, carriers: pa.Schema) -> pa.RecordBatch:
    """Rows as they travel: each column's bits, then in a layout that Spark has."""
    return pa.RecordBatch.from_arrays([_pack(column) for column in batch.columns], schema=carriers)


def unpack(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """The rows that `pack` made, as they were."""
    columns = [_unpack(carried, field.type) for carried, field in zip(batch.columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _pack(column: pa.Array) -> pa.Array:
    return column.view(_bits(column.type)).cast(_carrier(column.type))


def _unpack(carried: pa.Array, kind: pa.DataType) -> pa.Array:
    # Not with Arrow's own cast: it crashes on lists that are all null, as Spark sends them, on their way to a fixed size.
    return cast(carried, _bits(kind)).view(kind)


def _travels(kind: pa.DataType) -> bool:
    """Whether Spark has the carrier's type, and Arrow the casts there and back (not for nulls in a fixed-size list)."""
    from spark_datasource.schemas import spark_arrow_type

    sample = pa.nulls(2, kind)
    try:
        packed = _pack(sample)
        packed.validate()
        return bool(spark_arrow_type(packed.type) == packed.type and _unpack(packed, kind).equals(sample))
    except (SchemaError, pa.ArrowException):
        return False


def _bits(kind: pa.DataType) -> pa.DataType:
    """The type of integers and bytes that has the same buffers."""
    if types.is_nested(kind):
        return _rebuild(kind, _bits)
    if types.is_decimal128(kind) or types.is_decimal256(kind):
        return pa.binary(kind.bit_width // 8)
    if types.is_integer(kind) or types.is_floating(kind) or types.is_temporal(kind) or types.is_decimal(kind):
        return _INTS.get(kind.bit_width, kind)
    return kind


def _carrier(kind: pa.DataType) -> pa.DataType:
    """The type in Spark's reach that `_bits(kind)` is cast to and from."""
    bits = _bits(kind)
    if types.is_large_list(bits) or types.is_fixed_size_list(bits):
        bits = pa.list_(bits.value_field)
    if types.is_nested(bits):
        return _rebuild(bits, _carrier)
    if types.is_large_string(bits):
        return pa.string()
    return pa.binary() if types.is_large_binary(bits) or types.is_fixed_size_binary(bits) else bits


def _rebuild(kind: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """A nested type with its children changed."""
    if types.is_struct(kind):
        return pa.struct([field.with_type(change(field.type)) for field in kind])
    if types.is_map(kind):
        return pa.map_(change(kind.key_type), change(kind.item_type))
    if types.is_list(kind):
        return pa.list_(kind.value_field.with_type(change(kind.value_type)))
    if types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(change(kind.value_type)))
    if types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(change(kind.value_type)), kind.list_size)
    return kind
