"""Formats of rows other than Parquet, read from open files."""
