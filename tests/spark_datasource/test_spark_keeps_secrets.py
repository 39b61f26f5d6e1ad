"""A session with its UI, its event log and its scratch files on: the Hub's token is in none of them."""

import json
import subprocess
import sys

from pipeline.localhub import Account, LocalHub

TOKEN = "hf_tokenthatnobodysees"
PROGRAM = """
import json, sys, urllib.request
from jobs.session import spark_session

endpoint, token, folder = sys.argv[1:]
settings = {
    "spark.ui.enabled": "true",
    "spark.ui.port": "0",
    "spark.eventLog.enabled": "true",
    "spark.eventLog.dir": f"file://{folder}/events",
    "spark.local.dir": f"{folder}/local",
    "spark.sql.warehouse.dir": f"{folder}/warehouse",
    "spark.broadcast.compress": "false",
    "spark.rdd.compress": "false",
}
with spark_session("secrets", master="local[1]", settings=settings) as spark:
    frame = spark.range(20).selectExpr("id", "string(id) AS text").repartition(2)
    target = frame.write.format("huggingface").mode("append").option("endpoint", endpoint).option("token", token)
    target.save("ann/x")
    spark.sql(f"CREATE TEMPORARY VIEW v USING huggingface OPTIONS (path 'ann/x', endpoint '{endpoint}', token '{token}')")
    assert spark.sql("SELECT * FROM v ORDER BY text").repartition(2).count() == 20
    for bad in ({"split": "no"}, {"token": token + "x"}):
        try:
            spark.read.format("huggingface").options(**{"endpoint": endpoint, "token": token} | bad).load("ann/x").count()
            raise SystemExit("this should fail")
        except Exception as err:
            print(json.dumps(str(err)))
    def get(path):
        with urllib.request.urlopen(f"{spark.sparkContext.uiWebUrl}{path}") as answer:
            return answer.read().decode()
    app = spark.sparkContext.applicationId
    for what in ("sql?details=true&planDescription=true&length=100", "jobs", "stages?details=true", "environment"):
        print(json.dumps(get(f"/api/v1/applications/{app}/{what}")))
    for page in ("/SQL/", "/jobs/", "/environment/", "/SQL/execution/?id=1"):
        print(json.dumps(get(page)))
"""


def test_the_token_is_in_no_ui_event_log_or_scratch_file(tmp_path):
    """Written and read with the token as an option, in SQL too: what Spark shows and stores does not hold it."""
    for name in ("events", "local", "warehouse"):
        (tmp_path / name).mkdir()
    with LocalHub(tmp_path / "hub", accounts=[Account(name="ann", token=TOKEN)]) as own:
        command = [sys.executable, "-c", PROGRAM, own.endpoint, TOKEN, str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    shown = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('"')]
    assert len(shown) == 10
    assert "ann/x" in "".join(shown)  # it is the right session
    assert TOKEN not in done.stdout + done.stderr
    stored = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.parent.name.startswith("events") or "events" in path.parts for path in stored)
    assert [path for path in stored if TOKEN.encode() in path.read_bytes()] == []
