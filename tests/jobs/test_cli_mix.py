"""`pipeline build-mix` and `pipeline stream` as people run them: one line for what is wrong, clean output for what works."""

import hashlib
import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from jobs import build_mix
from pipeline.hub import client
from pipeline.hub.repo import Secret, parse_ref
from pipeline.localhub import Account, LocalHub

PIPELINE = Path(sys.executable).with_name("pipeline")


@pytest.fixture
def run(tmp_path):
    """Run the command line in the test's folder; (exit code, stdout, stderr)."""

    def call(*args, limit=None, **environment):
        def limits():
            if limit:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        env = {name: value for name, value in (os.environ | environment).items() if value is not None}
        done = subprocess.run(
            [PIPELINE, *args], cwd=tmp_path, env=env, capture_output=True, text=True, check=False, preexec_fn=limits
        )
        return done.returncode, done.stdout, done.stderr

    return call


@pytest.fixture
def two(write):
    """Two sources, and where they lie."""
    write("a/0.parquet", pa.table({"id": range(900), "text": [f"row {n}" for n in range(900)]}), 50)
    write(
        "b.parquet",
        pa.table({"id": range(5000, 5200), "data": [hashlib.sha512(b"%d" % n).digest() * 40 for n in range(200)]}),
        20,
    )


MIX = """\
target: ./out
seed: 7
sources:
  - parquet: a/*.parquet
    columns: {id: id, text: text}
  - parquet: b.parquet
    name: b
    repeat: 1.5
"""

WRONG = {
    "YAML": ("target: ./out\nsources: [\n  - x", 2, "error: mix.yaml:3:3: this is not YAML:"),
    "unknown key": (
        MIX.replace("repeat", "repaet"),
        2,
        "error: mix.yaml:8:5: sources[1].repaet is not a key of a source; did you mean 'repeat'?",
    ),
    "seed": (MIX.replace("seed: 7", "seed: often"), 2, "error: mix.yaml:2:1: seed must be a whole number, got 'often'"),
    "no target": (MIX.replace("target: ./out\n", ""), 2, "error: mix.yaml:1:1: the recipe has no target;"),
    "unknown column": (
        MIX.replace("text: text", "text: txt"),
        2,
        "error: mix.yaml:5:23: source 'a', column 'text': 1-based column 1: unknown column 'txt'; did you mean 'text'?",
    ),
    "column in where": (
        MIX + "    where: 'idd > 3'",
        2,
        "error: mix.yaml:9:5: source 'b', where: 1-based column 1: unknown column 'idd'; did you mean 'id'?",
    ),
    "type in where": (MIX + "    where: 'id + 1'", 2, "error: mix.yaml:9:5: source 'b', where:"),
    "conflict": (
        MIX.replace("id: id,", "id: text,"),
        1,
        "error: source 'b': column 'id' is int64, but it is string in source 'a'; cast one of them",
    ),
    "no files": (MIX.replace("a/*", "z/*"), 1, "error: mix.yaml:4:5: "),
    "not Parquet": (MIX.replace("b.parquet", "mix.yaml"), 1, "mix.yaml: not a Parquet file"),
    "no row": (MIX + "    where: id < 0", 1, "error: mix.yaml:6:5: source 'b' has no rows for which id < 0"),
    "a file as folder": (
        MIX.replace("./out", "./b.parquet/out"),
        1,
        "b.parquet' is not a folder; choose another folder",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_recipe_ends_in_one_line_that_says_where(run, two, tmp_path, case):
    """Exit code 2 for what the recipe says, 1 for what is not there; nothing on stdout, one line on stderr."""
    text, code, message = WRONG[case]
    (tmp_path / "mix.yaml").write_text(text)
    returned, out, err = run("plan", "mix.yaml", "--count")
    assert (returned, out, err.count("\n")) == (code, "", 1)
    assert message in err
    assert not (tmp_path / "out").exists()


def test_a_bad_weight_is_said_with_its_place(run, tmp_path):
    """One line with file, line and column of the key."""
    (tmp_path / "mix.yaml").write_text(
        "target: ns/mix\nseed: 1\nshuffle: rows\nsources:\n"
        "  - dataset: ns/a\n    weight: 1\n  - dataset: ns/b\n    weight: -3\n"
    )
    assert run("build-mix", "mix.yaml") == (
        2,
        "",
        "error: mix.yaml:8:5: sources[1].weight must be greater than 0, got -3\n",
    )


def test_a_recipe_that_is_not_there_is_named(run):
    """So is a flag that makes no sense, with click's own exit code 2."""
    code, out, err = run("build-mix", "no.yaml")
    assert (code, out, err) == (1, "", "error: recipe 'no.yaml' does not exist; give the path of a YAML file\n")
    code, out, err = run("build-mix", "no.yaml", "--append", "--overwrite")
    assert (code, out) == (2, "")
    assert "--overwrite and --append exclude each other" in err
    assert run("build-mix", "no.yaml", "--seed", "-1")[0] == 2


def test_what_the_hub_does_not_have_is_named_and_what_it_has_is_listed(run, hub, repo, tmp_path):
    """No such repo, revision, config or split: one line with the recipe's place, exit code 1, before Spark starts."""
    from huggingface_hub import HfApi

    pq.write_table(pa.table({"x": [1, 2]}), tmp_path / "x.parquet")
    api = HfApi(endpoint=hub.endpoint, token="hf_any")
    api.create_repo(repo, repo_type="dataset")
    api.upload_file(
        path_or_fileobj=tmp_path / "x.parquet",
        path_in_repo="data/test-00000-of-00001.parquet",
        repo_id=repo,
        repo_type="dataset",
    )
    cases = {
        "dataset: tests/nowhere": "tests/nowhere: no such dataset on the Hub, or no access to it",
        f"dataset: {repo}\n    revision: v9": "no such revision on the Hub",
        f"dataset: {repo}\n    split: val": "no split 'val' in config 'default'; those that exist: 'test'",
        f"dataset: {repo}\n    split: test\n    config: de": "no config 'de'; those that exist: 'default'",
    }
    for source, message in cases.items():
        (tmp_path / "mix.yaml").write_text(f"target: tests/never\nsources:\n  - {source}\n")
        code, out, err = run("build-mix", "mix.yaml")
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert err.startswith("error: mix.yaml:3:5: ")
        assert message in err
    code, out, err = run("stream", "tests/nowhere")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("error: tests/nowhere: no such dataset on the Hub, or no access to it; check the name")
    code, out, err = run("stream", repo, "--split", "val")
    assert (code, out) == (1, "")
    assert "those that exist: 'test'" in err


def test_a_private_dataset_needs_a_token_that_may_read_it(run, tmp_path):
    """Without access a private repo is as if it were not there, and the token is in no message; with access it is mixed."""
    accounts = [Account(name="ann", token="hf_ann_secret", role="write"), Account(name="eve", token="hf_eve_secret")]
    with LocalHub(tmp_path / "hub", accounts=accounts) as own:
        environment = {
            "HF_ENDPOINT": own.endpoint,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_XET_CACHE": str(tmp_path / "xet"),
        }
        ann = Secret("hf_ann_secret")
        client.create_repo(parse_ref("ann/secret", endpoint=own.endpoint), ann, private=True)
        (tmp_path / "mix.yaml").write_text("target: ./out\nsources:\n  - dataset: ann/secret\n")
        for token in (None, "hf_eve_secret", "hf_nobody"):
            code, out, err = run("build-mix", "mix.yaml", HF_TOKEN=token, **environment)
            assert (code, out, err.count("\n")) == (1, "", 1)
            assert err.startswith("error: mix.yaml:3:5: ann/secret: ")
            assert "secret" not in err.replace("ann/secret", "")
        code, _, err = run("build-mix", "mix.yaml", HF_TOKEN="hf_ann_secret", **environment)
        assert (code, "ann/secret" in err, "split 'train'" in err or "no Parquet" in err) == (1, True, True)


@pytest.mark.spark
def test_java_is_needed_only_where_rows_are_exchanged(run, two, tmp_path):
    """Blocks are built without it; rows are not: one line with the fix and exit code 1, too old a Java likewise."""
    (tmp_path / "mix.yaml").write_text(MIX.replace("target: ", "shuffle: blocks\ntarget: "))
    without = {"JAVA_HOME": "/nonexistent", "PATH": "/nonexistent"}
    code, out, err = run("build-mix", "mix.yaml", "--output", "./blocks", **without)
    assert (code, err) == (0, "")
    assert "rows         1,200 in 1 shard" in out
    (tmp_path / "mix.yaml").write_text(MIX.replace("target: ", "shuffle: rows\ntarget: "))
    for environment in ({"JAVA_HOME": "/nonexistent"}, {"JAVA_HOME": None, "PATH": "/nonexistent"}):
        code, out, err = run("build-mix", "mix.yaml", **environment)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert err.startswith("error: Spark needs Java 17 or newer, and ")
        assert "apt-get install openjdk-17" in err
    old = tmp_path / "jdk/bin/java"
    old.parent.mkdir(parents=True)
    old.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_392\"' >&2\n")
    old.chmod(0o755)
    code, out, err = run("build-mix", "mix.yaml", JAVA_HOME=str(tmp_path / "jdk"))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "is version 8; install one" in err


def test_a_plan_is_printed_and_nothing_is_built(run, two, tmp_path):
    """Target, order, rows per source, what each costs, shards, quality, columns; no Java is needed, no folder is made."""
    (tmp_path / "mix.yaml").write_text(MIX)
    without_java = {"JAVA_HOME": "/nonexistent", "PATH": "/nonexistent"}
    code, out, err = run("plan", "mix.yaml", **without_java)
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == f"target {tmp_path}/out, config default"
    assert lines[1] == "order single rows, in a uniform random permutation; seed 7"
    assert lines[4:8] == [
        "source from available drawn times share",
        "------ ----------- --------- ----- ----- -----",
        "a a/*.parquet 900 900 1 75.0%",
        "b b.parquet 200 300 1.5 25.0%",
    ]
    assert lines[9] == "source to read written why"
    assert "rows 1,200 in 1 shard of 1,200 rows" in lines
    assert any(line.startswith("gate met (behind the buffer, ") for line in lines)
    assert lines[-1] == "columns id int64, text string, data binary, source string"
    code, out, err = run("plan", "mix.yaml", "--json", "--seed", "9", "--output", "ns/other", **without_java)
    plan = json.loads(out)
    (split,) = plan["splits"]
    assert (code, err, split["rows"], plan["seed"], plan["target"]) == (0, "", 1200, 9, "ns/other")
    assert [source["drawn"] for source in split["sources"]] == [900, 300]
    assert not (tmp_path / "out").exists()


def _hashes(folder):
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("data/*.parquet"))]


@pytest.mark.spark
def test_a_build_reports_what_it_did_and_is_the_same_on_one_core(run, two, tmp_path, mix):
    """A summary on stdout, nothing on stderr; the files are byte for byte those of a session with two cores."""
    (tmp_path / "mix.yaml").write_text(MIX)
    code, out, err = run("build-mix", "mix.yaml", "--master", "local[1]")
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[:4] == [
        "source from wanted got",
        "------ ----------- ------ ---",
        "a a/*.parquet 900 900",
        "b b.parquet 300 300",
    ]
    assert "rows 1,200 in 1 shard" in lines
    assert [line.split()[0] for line in lines[5:10]] == ["rows", "read", "written", "shuffle", "time"]
    assert lines[-1].endswith(f"print(datasets.load_dataset('{tmp_path}/out'))\"")
    assert _hashes(tmp_path / "out") == mix(MIX).hashes()
    code, out, err = run("build-mix", "mix.yaml")
    assert (code, err) == (0, "")
    assert re.fullmatch(rf"{tmp_path}/out has this mix already \(plan [0-9a-f]{{16}}\); nothing to do\n", out)
    code, out, err = run("build-mix", "mix.yaml", "--seed", "8")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert f"target '{tmp_path}/out' has 1 file in split 'train'" in err
    assert "--overwrite" in err
    code, out, err = run("plan", "mix.yaml", "--seed", "8")
    assert (code, err.count("\n")) == (0, 1)
    assert err.startswith("note: target ")
    assert "1,200 in 1 shard" in out


@pytest.mark.spark
def test_json_and_the_flags_win_over_the_recipe(run, two, tmp_path, mix):
    """`--json` prints one JSON value and nothing else; `--seed` and `--output` are those of the built mix."""
    (tmp_path / "mix.yaml").write_text("shuffle: rows\n" + MIX)
    code, out, err = run("build-mix", "mix.yaml", "--json", "--seed", "12", "--output", "./there")
    built = json.loads(out)
    report = built["splits"]["train"]
    assert (code, err, report["seed"], report["target"]) == (0, "", 12, "./there")
    assert (built["plan_id"], built["commit"], built["repeated"]) == (report["plan_id"], None, False)
    assert report["bytes"]["published"] == sum(path.stat().st_size for path in (tmp_path / "there/data").iterdir())
    (record,) = (tmp_path / "there/.pipeline/writes/default/train").iterdir()
    assert json.loads(record.read_text())["seed"] == 12
    assert _hashes(tmp_path / "there") == mix("shuffle: rows\n" + MIX.replace("seed: 7", "seed: 12")).hashes()
    assert not (tmp_path / "out").exists()


@pytest.mark.spark
def test_a_full_disk_is_one_line(run, two, tmp_path):
    """What remains of Spark's wall of text is a line that says which file did not fit; nothing is published."""
    (tmp_path / "mix.yaml").write_text(MIX.replace("1.5", "40"))
    code, out, err = run("build-mix", "mix.yaml", limit=8_000_000)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert re.search("out/.pipeline/staged/[0-9a-f]{32}/shard-00000-", err)
    assert not any((tmp_path / "out").rglob("*"))
    assert "(File too large); make room" in err


@pytest.mark.spark
@pytest.mark.long
def test_spark_submit_builds_the_same_mix(two, tmp_path, mix):
    """The job is also a program for `spark-submit`, under the master that this was given."""
    (tmp_path / "mix.yaml").write_text(MIX)
    program = [PIPELINE.with_name("spark-submit"), "--master", "local[2]", build_mix.__file__, "mix.yaml"]
    path = f"{PIPELINE.parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        program, cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "b.parquet" in done.stdout
    assert _hashes(tmp_path / "out") == mix(MIX).hashes()


def test_rows_are_streamed_as_text_and_as_json(run, hub, repo, tmp_path):
    """`--rows` many, with `--columns` only those; text is short, JSON is one object per line with bytes as base64."""
    from huggingface_hub import HfApi

    rows = [{"id": n, "text": f"row\n{n}", "data": b"\xff" * n, "tags": [{"k": n}] * n} for n in range(8)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "x.parquet")
    api = HfApi(endpoint=hub.endpoint, token="hf_any")
    api.create_repo(repo, repo_type="dataset")
    api.upload_file(
        path_or_fileobj=tmp_path / "x.parquet", path_in_repo="train.parquet", repo_id=repo, repo_type="dataset"
    )
    code, out, err = run("stream", repo, "--rows", "2", JAVA_HOME="/nonexistent")
    assert (code, err) == (0, "")
    assert (
        out
        == "id: 0\ntext: row 0\ndata: <0 bytes>\ntags: []\n\nid: 1\ntext: row 1\ndata: <1 bytes>\ntags: [{k: 1}]\n\n"
    )
    code, out, err = run("stream", repo, "--columns", "data, id", "--json")
    assert (code, err, len(out.splitlines())) == (0, "", 8)
    assert json.loads(out.splitlines()[3]) == {"data": "////", "id": 3}
    code, out, err = run("stream", repo, "--columns", "nope")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "no column 'nope'" in err
