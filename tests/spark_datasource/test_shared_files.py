"""Files that several splits of a card name: an overwrite of one split leaves them to the others."""

from huggingface_hub import HfApi

from pipeline.streaming import stream
from tests.spark_datasource.writing import listing, numbers, write

OTHER = """configs:
- config_name: all
  data_files:
  - split: everything
    path: data/*
- config_name: default
"""


def ids(repo, **where):
    return sorted(row["id"] for row in stream(repo, **where))


def test_an_overwrite_keeps_what_another_split_names_too(hub, repo):
    """The other split still reads its rows, and none of those that were written since."""
    write(repo, numbers(1, 2))
    card = listing(hub, repo).card.text().replace("configs:\n- config_name: default\n", OTHER, 1)
    HfApi(endpoint=hub.endpoint, token="hf_x").upload_file(
        path_or_fileobj=card.encode(), path_in_repo="README.md", repo_id=repo, repo_type="dataset"
    )
    assert ids(repo, config="all", split="everything") == [1, 2]
    write(repo, numbers(9), overwrite=True)
    write(repo, numbers(10))
    assert ids(repo, config="default", split="train") == [9, 10]
    assert ids(repo, config="all", split="everything") == [1, 2]
