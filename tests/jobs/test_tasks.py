"""Tasks on Spark: results in order, errors as our own, and Spark's labels put back."""

import errno

import pytest

from jobs.session import our_errors, unwrap
from jobs.tasks import run_tasks, watch
from pipeline.errors import CorruptFileError, NotFoundError, SetupError


@pytest.mark.spark
def test_results_come_in_the_order_of_the_items(spark):
    """Whatever task ends first; no items are no job."""
    assert run_tasks(spark, lambda n: n * n, range(7), "square") == [n * n for n in range(7)]
    assert run_tasks(spark, lambda n: n, [], "nothing") == []


@pytest.mark.spark
def test_an_error_in_a_task_arrives_as_itself(spark):
    """A DatasetError raised in a worker has its own type and text on the driver, in one line."""

    def fail(n):
        raise NotFoundError(f"s3://x/{n}: no such file; check its name")

    with pytest.raises(NotFoundError) as caught, our_errors():
        run_tasks(spark, fail, [4], "fail")
    assert str(caught.value) == "s3://x/4: no such file; check its name"


@pytest.mark.spark
def test_a_fault_of_the_program_stays_what_it_is(spark):
    """Only our errors and full disks are told in our words; a bug keeps its traceback."""
    with pytest.raises(Exception, match="ZeroDivisionError"), our_errors():
        run_tasks(spark, lambda n: 1 // n, [0], "divide")


@pytest.mark.spark
def test_the_label_of_a_job_is_put_back(spark):
    """Inside, Spark's UI says what runs; afterwards it says what it said before, also after an error."""
    context = spark.sparkContext
    context.setJobDescription("the caller's own")
    try:
        with watch(spark, "count rows"):
            assert context.getLocalProperty("spark.job.description") == "count rows"
        assert context.getLocalProperty("spark.job.description") == "the caller's own"
        with pytest.raises(RuntimeError), watch(spark, "fail"):
            raise RuntimeError
        assert context.getLocalProperty("spark.job.description") == "the caller's own"
        assert context.getLocalProperty("spark.jobGroup.id") is None
    finally:
        context.setLocalProperty("spark.job.description", None)


def test_our_error_is_found_in_sparks_text():
    """The innermost line counts, before what it was raised from; a full disk is said to be one."""
    wall = "Aborted\nOSError: [Errno 28] No space left on device\n\npipeline.errors.CorruptFileError: a: b\n\tat x"
    found = unwrap(Exception(wall))
    assert (type(found), str(found)) == (CorruptFileError, "a: b")
    for full in (
        "java.io.IOException: No space left on device\n\tat x",
        OSError(errno.ENOSPC, "No space left on device"),
    ):
        found = unwrap(full if isinstance(full, OSError) else Exception(full))
        assert isinstance(found, SetupError)
        assert "make room" in str(found)
    assert unwrap(Exception("pipeline.errors.NoSuchError: x")) is None
    assert unwrap(Exception("java.io.IOException: broken")) is None
