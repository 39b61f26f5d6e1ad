"""The recipe of the README, for tests."""

EXAMPLE = """\
target: ns/finevision-mini          # where the mix goes; or a local folder
seed: 42
shuffle: blocks                     # blocks | rows | none
shard_bytes: 100MB
sources:
  - dataset: ns/captions            # on the Hub: config, split, revision optional
    columns: {image: image, text: caption}   # mix column: source column
  - dataset: ns/stdlib-qa
    repeat: 2
  - parquet: data/extra/*.parquet   # local or s3://, gs://, hf:// files
    where: "length(text) > 20"
    take: 1000
"""
