"""Timestamps as Spark and Hive wrote them for years (INT96), read back from the Hub."""

from huggingface_hub import CommitOperationAdd, HfApi


def test_int96_timestamps_of_spark_come_back_exactly(spark, load, repo, hub, tmp_path):
    """What Spark wrote as INT96, from year 1 to 9999, is what our reader gives Spark and Python."""
    import pipeline

    values = [
        "0001-01-01 00:00:00",
        "1582-10-15 01:02:03.000004",
        "2024-02-29 12:00:00.5",
        "9999-12-31 23:59:59.999999",
    ]
    settings = {"parquet.outputTimestampType": "INT96", "parquet.int96RebaseModeInWrite": "CORRECTED"}
    settings |= {"session.timeZone": "UTC"}
    before = {key: spark.conf.get(f"spark.sql.{key}") for key in settings}
    try:
        for key, value in settings.items():
            spark.conf.set(f"spark.sql.{key}", value)
        rows = ", ".join(f"(timestamp '{value}')" for value in values)
        spark.sql(f"select t from values {rows} as v(t)").coalesce(1).write.parquet(str(tmp_path / "out"))
        adds = [CommitOperationAdd("train.parquet", next((tmp_path / "out").glob("*.parquet")).read_bytes())]
        api = HfApi(endpoint=hub.endpoint, token="hf_any")
        api.create_repo(repo, repo_type="dataset")
        api.create_commit(repo, adds, commit_message="put", repo_type="dataset")
        found = [row[0] for row in load(repo).selectExpr("string(t)").collect()]
    finally:
        for key, value in before.items():
            spark.conf.set(f"spark.sql.{key}", value)
    assert sorted(found) == values
    streamed = sorted(row["t"].isoformat(" ") for row in pipeline.stream(repo))
    assert [text.rstrip("0").rstrip(".") if "." in text else text for text in streamed] == values
