"""Files in storage -> one commit: the second half of every write, which the driver does.

A commit brings all receipts of all its splits, the card, the transaction's id, and what is published beside them; readers see all
of it or nothing. In a bucket, which has no commits, files have names of their own and the card that names them comes after them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pipeline.hub.bucket import list_target, replace_files, target_refs
from pipeline.hub.card import SplitInfo, split_info
from pipeline.hub.commit import Change, Committed, commit
from pipeline.hub.listing import DataFile, Listing
from pipeline.hub.pull_request import commit_as_pr
from pipeline.hub.repo import DatasetRef, Secret
from pipeline.hub.split import Mode, SplitWrite, check_unchanged, existing_files, file_path, folder_of
from pipeline.hub.splits import CARD, NOTHING, Beside, SplitFiles, splits_change
from pipeline.hub.upload import ShardReceipt, StoredFile, Upload
from pipeline.parquet.footer import read_footers
from pipeline.storage import FileRef


def publish(
    ref: DatasetRef,
    token: Secret | None,
    write: SplitWrite,
    receipts: Sequence[ShardReceipt],
    *,
    planned: Sequence[DataFile],
    message: str,
    check: Callable[[Listing], None] | None = None,
    description: str = "",
    create_pr: bool = False,
) -> Committed:
    """Make the receipts a split, in one commit: `publish_splits` of one, with nothing beside it."""
    return publish_splits(
        ref,
        token,
        [(write, receipts)],
        planned=[planned],
        message=message,
        check=check,
        description=description,
        create_pr=create_pr,
    )


def publish_splits(
    ref: DatasetRef,
    token: Secret | None,
    splits: Sequence[SplitFiles],
    *,
    planned: Sequence[Sequence[DataFile]],
    message: str,
    beside: Beside = NOTHING,
    check: Callable[[Listing], None] | None = None,
    description: str = "",
    create_pr: bool = False,
) -> Committed:
    """Make receipts splits, all in one commit, which has the transaction of the first of them.

    `planned` are, of each, the files that it had when the write began. With `create_pr` the commit is a pull request to the
    branch, which must be `main`; otherwise it is on the branch.
    Raises ConflictError when an overwrite would lose what another writer added since; an append just comes after it, unless
    `check` of the head that it comes after raises. NotFoundError for a file to copy that is gone.
    """

    stored = _store(ref, token, beside.contents)

    def build(listing: Listing) -> Change:
        _check_planned(listing, splits, planned)
        if check:
            check(listing)
        change = splits_change(listing, splits, beside, lambda now, write: hub_split_size(now, write, token))
        return replace(change, files=(*change.files, *stored), contents={})

    send = commit_as_pr if create_pr else commit
    return send(ref, token, build, message=message, transaction=splits[0][0].transaction, description=description)


def publish_splits_to_bucket(
    ref: DatasetRef,
    token: Secret | None,
    splits: Sequence[SplitFiles],
    *,
    planned: Sequence[Sequence[DataFile]],
    beside: Beside = NOTHING,
) -> None:
    """Make receipts splits of a bucket, or of the folder in it that the ref's path names, with a card, as in a repo.

    New files first, the card last, then what it does not name any more is removed. Raises ConflictError as `publish_splits` does,
    TransferError, AccessError.
    """
    listing = list_target(ref, token)
    _check_planned(listing, splits, planned)
    named = [(replace(write, unique_names=True), receipts) for write, receipts in splits]
    change = splits_change(listing, named, beside, lambda now, write: hub_split_size(now, write, token))
    bucket, below = replace(ref, path=""), f"{ref.path}/" if ref.path else ""
    texts = {path: text.encode() for path, text in change.texts.items() if path != CARD}
    card = {CARD: change.texts[CARD].encode()}
    stored = _store(bucket, token, {**change.contents, **texts, **card})
    added = {below + file.path: file for file in (*change.files, *stored)}
    replace_files(bucket, token, added, [below + path for path in change.deletions])


def _store(ref: DatasetRef, token: Secret | None, contents: Mapping[str, bytes]) -> tuple[StoredFile, ...]:
    if not contents:
        return ()
    with Upload(ref, token) as upload:
        for path, content in contents.items():
            stream = upload.open(path)
            stream.write(content)
            stream.close()
        return tuple(upload.finish())


def _check_planned(listing: Listing, splits: Sequence[SplitFiles], planned: Sequence[Sequence[DataFile]]) -> None:
    for (write, _), files in zip(splits, planned, strict=True):
        if write.mode is Mode.OVERWRITE:
            check_unchanged(listing, write.config, write.split, files)


def publish_to_bucket(
    ref: DatasetRef,
    token: Secret | None,
    write: SplitWrite,
    receipts: Sequence[ShardReceipt],
    *,
    planned: Sequence[DataFile],
) -> None:
    """Make the receipts files of a split; an overwrite then removes those that were `planned` against.

    Names follow from the transaction, so that to do it again changes nothing. Raises TransferError, AccessError.
    """
    folder = folder_of(write.config, write.data_dir)
    count, unique = len(receipts), write.transaction[:8]
    names = (f"{write.split}-{index:05d}-of-{count:05d}-{unique}.parquet" for index in range(count))
    added = {
        file_path(folder, write.split, receipt, name): receipt.file
        for receipt, name in zip(receipts, names, strict=True)
    }
    removed = [file.path for file in planned] if write.mode is Mode.OVERWRITE else []
    replace_files(ref, token, added, removed)


def hub_split_size(listing: Listing, write: SplitWrite, token: Secret | None) -> SplitInfo | None:
    """The size of what a split has on the Hub, `None` when it has no files."""
    files = existing_files(listing, write.config, write.split)
    return split_size(listing, write.config, write.split, target_refs(listing, files), token)


def split_size(
    listing: Listing, config: str, split: str, files: Sequence[FileRef], token: Secret | None
) -> SplitInfo | None:
    """A split's size: from the card, else from its files' footers; `None` when it has no files."""
    if not files:
        return None
    if known := split_info(listing.card, config, split):
        return known
    footers = read_footers(files, token)
    num_bytes = sum(group.num_bytes for footer in footers for group in footer.row_groups())
    return SplitInfo(num_examples=sum(footer.rows for footer in footers), num_bytes=num_bytes)
