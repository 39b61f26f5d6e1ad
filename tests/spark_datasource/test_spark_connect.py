"""The format over Spark Connect: a client that has no JVM, a server that has the package."""

import json
import os
import subprocess
import sys

PROGRAM = """
import json, sys
from pyspark.sql import SparkSession
import spark_datasource

repo = sys.argv[1]
spark = (
    SparkSession.builder.remote("local[2]")
    .config("spark.ui.enabled", "false")
    .config("spark.driver.host", "127.0.0.1")
    .config("spark.driver.bindAddress", "127.0.0.1")
    .config("spark.sql.warehouse.dir", sys.argv[2])
    .config("spark.connect.grpc.binding.address", "127.0.0.1")
    .getOrCreate()
)
spark_datasource.register(spark)
frame = spark.createDataFrame([(1, "a"), (2, "b"), (3, None)], "id bigint, text string")
frame.write.format("huggingface").mode("overwrite").option("token", "hf_any").save(repo)
read = spark.read.format("huggingface").option("token", "hf_any")
found = {"all": read.load(repo).orderBy("id").collect(), "some": read.option("where", "id > 1").load(repo).collect()}
pruned = spark_datasource.load_pruned(spark, repo, lambda df: df.where("id = 3").select("text"), token="hf_any")
found["pruned"] = pruned.collect()
spark.sql(f"CREATE TEMPORARY VIEW pets USING huggingface OPTIONS (path '{repo}', `columns` 'text')")
found["sql"] = spark.sql("SELECT count(text) AS n FROM pets").collect()
try:
    read.option("split", "nope").load(repo).collect()
except Exception as err:
    found["error"] = [[str(err)]]
print(json.dumps({name: [list(row) for row in rows] for name, rows in found.items()}))
spark.stop()
"""


def test_a_connect_client_reads_and_writes(hub, repo, tmp_path):
    """Register, write, read with options, a temporary view, `load_pruned` and our errors work from a Connect client."""
    environment = os.environ | {"SPARK_TESTING": "1"}  # then Spark chooses a free port for its server
    command = [sys.executable, "-c", PROGRAM, repo, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["all"] == [[1, "a"], [2, "b"], [3, None]]
    assert sorted(found["some"]) == [[2, "b"], [3, None]]
    assert found["pruned"] == [[None]]
    assert found["sql"] == [[2]]
    assert "no split 'nope' in config 'default'; those that exist: 'train'" in found["error"][0][0]
