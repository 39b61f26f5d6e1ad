"""What people run: the `pipeline` command line, and the Spark programs behind it."""
