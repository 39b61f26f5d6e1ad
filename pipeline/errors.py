"""Every error that a user can meet, as one tree.

    DatasetError
    +-- OptionError        a bad option, flag or argument        (ValueError)
    +-- RecipeError        a bad recipe, with file:line:column   (ValueError)
    +-- NotFoundError      no such repo, revision, split, file   (FileNotFoundError)
    +-- AccessError        no token, or one that may not         (PermissionError)
    +-- SchemaError        columns or types that do not fit      (TypeError)
    +-- CorruptFileError   a file that is not what it says       (ValueError)
    +-- ConflictError      somebody else changed the target      (RuntimeError)
    +-- TransferError      the network gave up                   (ConnectionError)
    +-- SetupError         the machine lacks something           (RuntimeError)

An error takes one string, so that it survives pickling between a Spark worker and the driver. The string is one line:
what was wrong, with the value; what was expected; what to do. It never holds a token.
"""

from __future__ import annotations


class DatasetError(Exception):
    """The root: `except DatasetError` catches all that this project raises on purpose."""

    exit_code = 1


class OptionError(DatasetError, ValueError):
    """An option, flag or argument is unknown or has a value that it cannot have."""

    exit_code = 2


class RecipeError(DatasetError, ValueError):
    """A recipe or an expression in it cannot be read; the message starts with where."""

    exit_code = 2


class NotFoundError(DatasetError, FileNotFoundError):
    """A repo, revision, config, split or file does not exist."""


class AccessError(DatasetError, PermissionError):
    """There is no token, or the token does not allow this."""


class SchemaError(DatasetError, TypeError):
    """Columns are missing, or types do not fit together."""


class CorruptFileError(DatasetError, ValueError):
    """A file is not what its name or its listing says."""


class ConflictError(DatasetError, RuntimeError):
    """The target changed in a way that this write must not overwrite."""


class TransferError(DatasetError, ConnectionError):
    """The network or the server failed for longer than we retry."""


class SetupError(DatasetError, RuntimeError):
    """The machine lacks something: Java, an extra, room on the disk."""
