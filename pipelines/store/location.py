"""One class for local paths and `s3://` URIs.

Endpoint, region and credentials of S3 come only from the standard environment variables (AWS_ENDPOINT_URL,
AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, ...), so that arguments and tables hold no secrets.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.fs

from pipelines.store import s3 as s3_client
from pipelines.store.errors import StorageError, StoreFailure, redacted
from pipelines.store.listing import Entry, FolderWalk
from pipelines.store.s3 import s3, s3_errors

DOWNLOADS = 3
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)
T = TypeVar("T")


@dataclass(frozen=True)
class Location:
    """A local path (made absolute) or `s3://bucket/key`. Raises StorageError on any other scheme."""

    uri: str

    def __post_init__(self) -> None:
        uri = os.fspath(self.uri)
        if uri.startswith("s3://"):
            bucket, _, key = uri[5:].partition("/")
            if not bucket:
                raise StorageError(f"{uri!r} names no bucket; write s3://BUCKET/PREFIX")
            if "@" in bucket:  # credentials would end up in tables and logs
                raise StorageError(
                    f"the URI of {redacted(uri)} contains credentials. Set them in the environment instead "
                    "(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY)."
                )
            uri = f"s3://{bucket}/{key.strip('/')}".rstrip("/")
        elif "://" in uri and not uri.startswith("file://"):
            raise StorageError(f"cannot use {redacted(uri)!r}: pass a local path or an s3:// URI")
        else:
            uri = os.path.abspath(os.path.expanduser(uri.removeprefix("file://")))
        object.__setattr__(self, "uri", uri)

    def __str__(self) -> str:
        return self.uri

    @property
    def is_s3(self) -> bool:
        return self.uri.startswith("s3://")

    @property
    def name(self) -> str:
        return self.uri.rsplit("/", 1)[-1]

    @property
    def parent(self) -> Location:
        return Location(self.uri.rsplit("/", 1)[0] or "/")

    def join(self, *names: str) -> Location:
        """The location `names` below this one."""
        return Location("/".join([self.uri.rstrip("/"), *names]))

    def _bucket_key(self) -> dict[str, str]:
        bucket, _, key = self.uri[5:].partition("/")
        return {"Bucket": bucket, "Key": key}

    def stat(self) -> Entry:
        """Size and version of this file. Raises FileNotFoundError, IsADirectoryError or another OSError."""
        if not self.is_s3:
            info = os.stat(self.uri)
            if stat.S_ISDIR(info.st_mode):
                raise IsADirectoryError(f"{self.uri} is a folder, not a file")
            if not stat.S_ISREG(info.st_mode):
                raise StorageError(f"{self.uri} is a pipe, socket or device, not a file")
            return Entry(self.name, info.st_size, str(info.st_mtime_ns))
        with s3_errors(self.uri):
            head = s3().head_object(**self._bucket_key())
        return Entry(self.name, head["ContentLength"], head["ETag"].strip('"'))

    def exists(self) -> bool:
        """Whether this file (or, locally, this folder) exists."""
        try:
            self.stat()
        except FileNotFoundError:
            return False
        except IsADirectoryError:
            return True
        return True

    def is_folder(self) -> bool:
        """Whether this is a local folder, or an S3 prefix with any object below it."""
        return next(self.list(), None) is not None if self.is_s3 else os.path.isdir(self.uri)

    def list(self, follow_outside: bool = True) -> Iterator[Entry]:
        """List everything below, recursively and lazily, by name within each folder (on S3, by key).

        follow_outside: whether to follow links to places outside this folder. Unreadable folders and dangling links
        are entries of kind `unreadable`. Folders are listed too, because one may have the name of a recording. A
        missing folder has no entries.
        """
        return self._list_s3() if self.is_s3 else FolderWalk(self.uri, follow_outside).entries(self.uri, "", ())

    def folders(self) -> Sequence[str]:
        """Sorted names of the folders directly below, without listing their contents."""
        filesystem, path = self.arrow()
        entries = filesystem.get_file_info(pyarrow.fs.FileSelector(path, allow_not_found=True))
        return sorted(entry.base_name for entry in entries if entry.type == pyarrow.fs.FileType.Directory)

    def _list_s3(self) -> Iterator[Entry]:
        where = self._bucket_key()
        prefix = where["Key"] + "/" if where["Key"] else ""
        with s3_errors(self.uri):
            pages = iter(s3().get_paginator("list_objects_v2").paginate(Bucket=where["Bucket"], Prefix=prefix))
        while True:
            with s3_errors(self.uri):
                page = next(pages, None)
            if page is None:
                return
            for item in page.get("Contents", ()):
                name = item["Key"][len(prefix) :]
                if name.endswith("/"):
                    yield Entry(name.rstrip("/"), None, None, "folder")
                elif name:
                    yield Entry(name, item["Size"], item["ETag"].strip('"'))

    def read_bytes(self) -> bytes:
        """Read the whole file. Raises FileNotFoundError or another OSError."""
        return self._read_whole(lambda stream: bytes(stream.read()))

    def _read_whole(self, use: Callable[[BinaryIO], T]) -> T:
        """Apply `use` to the file's stream, and retry if the stream breaks off, which botocore does not do."""
        for _ in range(DOWNLOADS - 1):
            with contextlib.suppress(StoreFailure), self.open() as stream:
                return use(stream)
        with self.open() as stream:
            return use(stream)

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """A stream of the file's bytes. Raises FileNotFoundError, or StorageError for a pipe or a device."""
        if not self.is_s3:
            self.stat()  # opening a pipe would block forever
            with open(self.uri, "rb") as stream:
                yield stream
            return
        with s3_errors(self.uri), contextlib.closing(s3().get_object(**self._bucket_key())["Body"]) as body:
            yield body

    def write_bytes(self, data: bytes) -> None:
        """Write the file atomically: readers see either the old bytes or all of the new ones."""
        if self.is_s3:
            with s3_errors(self.uri):
                s3().put_object(**self._bucket_key(), Body=data)
            return
        with self.writing() as stream:
            stream.write(data)

    def write_if(self, data: bytes, version: str | None) -> str | None:
        """Write the file if it still has `version` (None: if it does not exist).

        Returns the new version, or None if the file has another version and was not written.
        """
        if not self.is_s3:
            return self._write_if_local(data, version)
        from botocore.exceptions import ClientError

        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": f'"{version}"'}
        with s3_errors(self.uri):
            try:
                return str(s3().put_object(**self._bucket_key(), Body=data, **condition)["ETag"]).strip('"')
            except ClientError as error:
                # 409: another conditional write is in progress; 404: the file to be replaced is gone
                if error.response["ResponseMetadata"]["HTTPStatusCode"] in (404, 409, 412):
                    return None
                raise

    def _write_if_local(self, data: bytes, version: str | None) -> str | None:
        import fcntl

        folder = os.open(os.path.dirname(self.uri), os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)  # until the folder is closed
            if (self.stat().version if self.exists() else None) != version:
                return None
            self.write_bytes(data)
            return self.stat().version
        finally:
            os.close(folder)

    @contextlib.contextmanager
    def writing(self) -> Iterator[pa.NativeFile]:
        """A stream whose bytes appear under this name only if the block ends without an error."""
        filesystem, path = self.arrow()
        if self.is_s3:  # Arrow cannot abort an upload, so a failed one is completed and then deleted
            try:
                with filesystem.open_output_stream(path) as stream:
                    yield stream
            except BaseException:
                self.delete()
                raise
            return
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = f"{path}.{uuid.uuid4().hex}.tmp"
        try:
            with filesystem.open_output_stream(temporary) as stream:
                yield stream
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def has_hard_links(self) -> bool:
        """Whether this local folder's disk supports hard links; True for S3, which needs none. Makes the folder."""
        if self.is_s3:
            return True
        os.makedirs(self.uri, exist_ok=True)
        with tempfile.NamedTemporaryFile(prefix=".link-", dir=self.uri) as file:
            second = file.name + "-2"
            try:
                os.link(file.name, second)
            except OSError as error:
                if error.errno in NO_LINKS:
                    return False
                raise
            os.unlink(second)
        return True

    def delete(self) -> None:
        """Delete this file, if it exists."""
        if self.is_s3:
            with s3_errors(self.uri):
                s3().delete_object(**self._bucket_key())
        else:
            Path(self.uri).unlink(missing_ok=True)

    @contextlib.contextmanager
    def local_copy(self) -> Iterator[str]:
        """A local path with this file's bytes: its own path, or that of a temporary copy of the S3 object."""
        if not self.is_s3:
            yield self.uri
            return
        # keep the extension, which decoders use for formats without a signature
        with tempfile.NamedTemporaryFile(prefix="asid-", suffix=os.path.splitext(self.name)[1]) as copy:

            def take(stream: BinaryIO) -> None:
                copy.seek(0)
                copy.truncate()
                shutil.copyfileobj(stream, copy, 1 << 20)
                copy.flush()

            self._read_whole(take)
            yield copy.name

    def arrow(self) -> tuple[pyarrow.fs.FileSystem, str]:
        """An Arrow filesystem, and this location's path in it."""
        if not self.is_s3:
            return pyarrow.fs.LocalFileSystem(), self.uri
        return s3_client.arrow_filesystem(), self.uri[5:]

    def lance(self) -> tuple[str, dict[str, str]]:
        """URI and storage options for `lance` and `lancedb`; credentials stay in the environment."""
        return self.uri, s3_client.lance_options() if self.is_s3 else {}
