"""All that knows Parquet: layouts, the writer, footers, scans, Hugging Face features."""
