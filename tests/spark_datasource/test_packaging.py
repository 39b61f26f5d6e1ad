"""What an installation brings: the format is found, explicitly registered it wins, and few packages are needed."""

import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = ["pyspark", "py4j", "pyarrow", "huggingface_hub", "hf_xet"]

IMPORT_ALONE = """
import importlib.metadata as md, re, sys

allowed, todo = set(), {needed!r}
while todo:
    name = re.split(r"[^A-Za-z0-9_.-]", todo.pop())[0].lower().replace("_", "-")
    if name and name not in allowed:
        allowed.add(name)
        try:
            todo += [one for one in md.requires(name) or [] if "extra ==" not in one]
        except md.PackageNotFoundError:
            pass
owners = {{module: {{name.lower().replace("_", "-") for name in names}} for module, names in md.packages_distributions().items()}}

class Blocker:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in owners and not owners[top] & (allowed | {{"xet-pipeline"}}):
            raise ModuleNotFoundError(f"blocked: {{name}}", name=name)

sys.meta_path.insert(0, Blocker())
import {module}
{then}
"""


def run(program, **env):
    """Run a Python program in a new process; its standard output."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize(
    ("module", "then"),
    [
        ("spark_datasource", "import spark_datasource.source, spark_datasource._discovery"),
        ("pipeline", "pipeline.stream; assert 'pyspark' not in sys.modules"),
    ],
)
def test_the_core_and_the_format_need_few_packages(module, then):
    """With every package blocked but pyspark, pyarrow, huggingface_hub, hf_xet and what these depend on, both import."""
    run(IMPORT_ALONE.format(needed=NEEDED, module=module, then=then))


def test_importing_the_core_imports_nothing():
    """`import pipeline` brings neither Spark nor Arrow nor a network client before they are used."""
    said = run(
        "import sys; import pipeline; print([m for m in ('pyspark', 'pyarrow', 'huggingface_hub', 'hf_xet') if m in sys.modules])"
    )
    assert said.strip() == "[]"


def test_the_format_takes_no_network_before_it_is_asked():
    """A source is made of options alone; what is wrong is said when Spark asks for a schema."""
    from pipeline.errors import OptionError
    from spark_datasource.source import HuggingFaceDataSource

    source = HuggingFaceDataSource({"path": "a/b", "endpoint": "http://127.0.0.1:9", "nope": "1"})
    assert source.name() == "huggingface"
    with pytest.raises(OptionError, match="unknown option 'nope'"):
        source.schema()


def test_spark_pushes_no_filters_into_our_reader():
    """Spark 4.1 to 4.3 let a filtered reader leak into other scans: ours must not offer to filter."""
    from pyspark.sql.datasource import DataSourceReader

    from spark_datasource.reader import HuggingFaceReader

    assert HuggingFaceReader.pushFilters is DataSourceReader.pushFilters


def test_our_format_wins_over_an_installed_one(spark, save, repo, load):
    """pyspark_huggingface is installed and calls itself "huggingface" too; what was registered explicitly is ours."""
    assert importlib.util.find_spec("pyspark_huggingface")
    from jobs.session import unwrap

    with pytest.raises(Exception, match="unknown option") as caught:
        spark.read.format("huggingface").option("nope", "1").load("a/b")
    assert unwrap(caught.value) is not None


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The project's wheel, built."""
    out = tmp_path_factory.mktemp("wheel")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


def test_the_wheel_holds_what_it_should(wheel):
    """The three houses, the module that Spark looks for, the console script; no tests, no environment."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        shim = archive.read("pyspark_xet_pipeline.py").decode()
    tops = {name.partition("/")[0] for name in names}
    assert {"pipeline", "spark_datasource", "jobs", "pyspark_xet_pipeline.py"} == {
        top for top in tops if not top.endswith(".dist-info")
    }
    assert "DefaultSource" in shim
    assert any(name.endswith("entry_points.txt") for name in names)


DISCOVER = """
from pyspark.sql import SparkSession
spark = (SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").config("spark.driver.host", "127.0.0.1")
         .config("spark.driver.bindAddress", "127.0.0.1").getOrCreate())
try:
    spark.read.format("huggingface").option("nope", "1").load("a/b")
except Exception as err:
    print("OURS" if "unknown option 'nope' for reading" in str(err) else str(err)[:500])
spark.stop()
"""


def test_an_installed_wheel_is_found_by_spark_alone(wheel, tmp_path):
    """With the wheel's files on the path and no other package of that name, Spark finds the format without register()."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    # pyspark_huggingface, installed for the test above, has the same name; a stand-in without a source takes its place.
    (tmp_path / "site" / "pyspark_huggingface.py").write_text("")
    said = run(DISCOVER, PYTHONPATH=str(tmp_path / "site"), PYSPARK_PYTHON=sys.executable)
    assert said.strip().endswith("OURS")


@pytest.mark.parametrize(
    "kind",
    [
        "OptionError",
        "NotFoundError",
        "AccessError",
        "SchemaError",
        "CorruptFileError",
        "ConflictError",
        "TransferError",
    ],
)
def test_an_error_survives_the_way_from_a_worker(kind):
    """Each error pickles, and is found again, alone and on one line, in the text of Spark's."""
    import pickle

    from jobs.session import unwrap
    from pipeline import errors

    error = getattr(errors, kind)('ns/name: it\'s wrong ("x"); do this')
    assert pickle.loads(pickle.dumps(error)).args == error.args
    wrapped = RuntimeError(
        f"Job aborted\\n  File 'x'\\npipeline.errors.{kind}: {error}\\n\\n\\tat org.apache".replace("\\n", "\n")
    )
    assert unwrap(wrapped).args == error.args
    assert type(unwrap(wrapped)) is type(error)
    assert unwrap(RuntimeError("no error of ours")) is None
