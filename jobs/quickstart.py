"""The product in one run, on this machine: publish three real datasets, mix them, stream the mix, grow a source, mix again.

Everything is in one folder: the embedded Hub, the Parquet folder, the recipe, the caches. Nothing of the user's is touched,
no account is needed, nothing leaves loopback.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs import console, quickstart_data
from jobs.session import apart, check_java, spark_session
from pipeline.errors import OptionError
from pipeline.sizes import format_bytes

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

    from jobs.publish_mix import Built
    from pipeline.localhub import LocalHub

_OURS = ("hub", "data", "cache")
_MARKER = ".quickstart"
DEFAULT_PORT = 8787
_SOURCES = 3
_GROWTH = 20  # the last 1/20 of the captions comes later: 5 %

RECIPE = """\
# Three datasets into one. Edit it, then run it again (the end of the quickstart says how).
target: demo/mix
seed: 42
shuffle: blocks                  # blocks | rows | none
shard_bytes: 4MB                 # small, for this is a small mix; 100MB by default
block_bytes: 256kB               # the same, 1MB by default; smaller shuffles better, larger uploads less
sources:
  - dataset: demo/captions       # images
    columns: {image: image, text: caption}
  - dataset: demo/stdlib-qa      # questions and answers
    columns: {text: "question || ' ' || answer"}
    repeat: 2
  - dataset: demo/stdlib-code    # published from the Parquet folder data/stdlib-code
    columns: [text]
    where: "length(text) > 200 and lines < 2000"
    take: 400
"""


def run(folder: Path) -> None:
    """The whole tour. Raises OptionError for a folder that holds something else, SetupError for what the machine lacks."""
    check_java()
    _prepare(folder)
    os.environ["HF_HOME"] = str(folder.absolute() / "cache")
    os.environ["HF_XET_CACHE"] = str(folder.absolute() / "cache" / "xet")
    os.environ["MPLCONFIGDIR"] = str(folder.absolute() / "cache" / "matplotlib")
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ.pop("HF_TOKEN", None)
    with _hub(folder / "hub") as hub:
        os.environ["HF_ENDPOINT"] = hub.endpoint
        console.say(f"An embedded Hub, without account or token, serves {folder / 'hub'} at {hub.endpoint}")
        with spark_session("quickstart") as spark:
            built = apart(lambda: _tour(spark, folder))
        port = hub.endpoint.rsplit(":", 1)[1]
    _conclude(folder, built, port)


def _tour(spark: SparkSession, folder: Path) -> Built:
    captions = quickstart_data.captions()
    first = captions.num_rows - captions.num_rows // _GROWTH
    _publish_all(spark, folder, captions.slice(0, first))
    _mix(spark, folder, overwrite=False)
    _stream_back()
    console.say("\n4. One source grows by 5 %, and the mix is built again")
    _publish(spark, captions.slice(first), "demo/captions", mode="append", features=_IMAGE)
    return _mix(spark, folder, overwrite=True)


def _hub(root: Path) -> LocalHub:
    """A running Hub at the port that `pipeline hub serve` takes, or at a free one: hf_xet's caches are kept by address."""
    from pipeline.localhub import LocalHub

    try:
        return LocalHub(root, port=DEFAULT_PORT).start()
    except OptionError:
        return LocalHub(root).start()


def _prepare(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()) and not (folder / _MARKER).exists():
        raise OptionError(f"folder {str(folder)!r} holds something that no quickstart put there; give another --folder")
    _check_not_served(folder / "hub")
    for name in _OURS:
        shutil.rmtree(folder / name, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARKER).touch()
    recipe = folder / "mix.yaml"
    if recipe.exists() and recipe.read_text() != RECIPE:
        console.say(f"Using your {recipe}")
    else:
        recipe.write_text(RECIPE)


def _check_not_served(root: Path) -> None:
    """Raises SetupError when a Hub that runs serves this folder: it must not be taken from under it."""
    from pipeline.localhub import LocalHub

    if root.exists():
        with LocalHub(root):
            pass


_IMAGE = '{"image": {"_type": "Image"}}'


def _publish_all(spark: SparkSession, folder: Path, captions: pa.Table) -> None:
    from pyarrow import parquet

    console.say("\n1. Three datasets, published with Spark")
    _publish(spark, captions, "demo/captions", features=_IMAGE)
    _publish(spark, quickstart_data.questions(), "demo/stdlib-qa")
    code = folder / "data" / "stdlib-code"
    code.mkdir(parents=True)
    parquet.write_table(quickstart_data.source_code(), code / "modules.parquet", row_group_size=100)
    _publish(spark, code, "demo/stdlib-code")


def _publish(
    spark: SparkSession, rows: pa.Table | Path, dataset: str, *, mode: str = "overwrite", features: str | None = None
) -> None:
    frame: Any = spark.read.parquet(str(rows)) if isinstance(rows, Path) else spark.createDataFrame(rows)
    writer = frame.write.format("huggingface").mode(mode)
    writer = writer.option("features", features) if features else writer
    writer.save(dataset)
    count = spark.read.format("huggingface").load(dataset).count()
    now = "now has" if mode == "append" else "has"
    console.say(f'   df.write.format("huggingface").mode("{mode}").save("{dataset}")  # {now} {count:,} rows')


def _mix(spark: SparkSession, folder: Path, *, overwrite: bool) -> Built:
    from jobs.build_mix import build_with
    from jobs.show_mix import show_report
    from pipeline.hub.split import Mode
    from pipeline.mix.recipe import load_recipe

    recipe = folder / "mix.yaml"
    if not overwrite:
        console.say("\n2. Combined and shuffled into one dataset, in one commit")
    console.say(f"   pipeline build-mix {recipe}{' --overwrite' if overwrite else ''}\n")
    built = build_with(spark, load_recipe(recipe), mode=Mode.OVERWRITE if overwrite else None)
    show_report(built, as_json=False)
    return built


def _stream_back() -> None:
    import datasets

    import pipeline

    console.say("\n3. Streamed back")
    console.say('   with datasets, unmodified: load_dataset("demo/mix", split="train", streaming=True)\n')
    for row in _one_of_each(datasets.load_dataset("demo/mix", split="train", streaming=True)):
        console.row(row, as_json=False)
    console.say('   with ours: pipeline.stream("demo/mix")\n')
    for row in _one_of_each(pipeline.stream("demo/mix")):
        console.row(row, as_json=False)


def _one_of_each(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The first row of each of the three sources."""
    seen: set[object] = set()
    for row in rows:
        if row.get("source") not in seen:
            seen.add(row.get("source"))
            yield row
        if len(seen) == _SOURCES:
            return


def _conclude(folder: Path, built: Built, port: str) -> None:
    size = built.reports["train"]["bytes"]
    console.say(
        f"\nThe second mix has {format_bytes(size['published'])}; {format_bytes(size['uploaded'])} of it had to be uploaded."
    )
    console.say(f"\nEverything is in {folder}: the Hub in hub/, the recipe in mix.yaml, a Parquet folder in data/.")
    console.say("Try next:")
    command = _command()
    console.say(f"  {command} hub serve --root {folder / 'hub'} --port {port} &")
    console.say(f"  export HF_ENDPOINT=http://127.0.0.1:{port} HF_HOME={(folder / 'cache').absolute()}")
    console.say(f"  {command} plan {folder / 'mix.yaml'} --seed 7")
    console.say(f"  {command} build-mix {folder / 'mix.yaml'} --seed 7 --overwrite")
    console.say(f"  {command} verify demo/mix")
    console.say(f"  {command} stream demo/mix --rows 5")
    console.say("  kill %1   # when you are done with the Hub")


def _command() -> str:
    """What to type for this program: `pipeline` where the shell finds it, else where it is."""
    here = Path(sys.executable).parent / "pipeline"
    found = shutil.which("pipeline")
    if found and Path(found).resolve() == here.resolve():
        return "pipeline"
    return str(here.relative_to(Path.cwd())) if here.is_relative_to(Path.cwd()) else str(here)
