"""The writer as Spark drives it, without a JVM, which adds nothing to what it promises."""

from __future__ import annotations

import pickle

import pyarrow as pa
from pyspark.sql.pandas.types import from_arrow_schema

from pipeline.hub.card import split_info
from pipeline.hub.listing import list_files
from pipeline.hub.repo import parse_ref
from spark_datasource.write_options import parse_write
from spark_datasource.write_plan import plan_write
from spark_datasource.writer import HuggingFaceWriter


def plan(path, schema, *, overwrite=False, **options):
    """The writer that Spark pickles to its tasks."""
    given = parse_write({"path": path, "token": "hf_x", **options})
    return HuggingFaceWriter(plan_write(given, from_arrow_schema(schema), overwrite=overwrite))


def run(writer, *tables):
    """What the tasks hand back, a task for each table; each has a copy of the writer, as executors do."""
    return [pickle.loads(pickle.dumps(writer)).write(iter(table.to_batches())) for table in tables]


def write(path, *tables, overwrite=False, **options):
    """A whole write, a task for each table."""
    writer = plan(path, tables[0].schema, overwrite=overwrite, **options)
    messages = run(writer, *tables)
    writer.commit(messages)
    return messages


def receipts(messages):
    """The files that tasks stored."""
    return [receipt for message in messages for receipt in message.receipts]


def listing(hub, path, revision=None):
    """What is there now."""
    return list_files(parse_ref(path, endpoint=hub.endpoint, revision=revision), None)


def rows_of_card(hub, path, config="default", split="train"):
    """How many rows the card says."""
    return split_info(listing(hub, path).card, config, split).num_examples


def numbers(*values):
    """A table with the column `id`."""
    return pa.table({"id": pa.array(values, pa.int64())})
