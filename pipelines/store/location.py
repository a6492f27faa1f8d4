"""One class for local paths and `s3://` URIs.

Endpoint, region and credentials of S3 come only from the standard environment variables (AWS_ENDPOINT_URL,
AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, ...), so that arguments and tables hold no secrets.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow.fs

from pipelines.store import s3 as s3_client
from pipelines.store.errors import StorageError, StoreFailure, redacted
from pipelines.store.listing import Entry, FolderWalk
from pipelines.store.s3 import s3, s3_errors

DELETED_AT_ONCE = 1000  # the most that S3 takes
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EINVAL)
# 409: another conditional write is under way; 404: the file to be replaced is gone
CONDITION_FAILED = (404, 409, 412)


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
            head = s3().call_s3("head_object", **self._bucket_key())
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
        """Names of the folders right below, sorted: `list` would walk through all that is in them."""
        if not self.is_s3:
            with contextlib.suppress(FileNotFoundError), os.scandir(self.uri) as found:
                return sorted(entry.name for entry in found if entry.is_dir())
            return []
        with contextlib.suppress(FileNotFoundError), s3_errors(self.uri):
            found = s3().ls(self.uri, detail=True)
            return sorted(entry["name"].rsplit("/", 1)[-1] for entry in found if entry["type"] == "directory")
        return []

    def _list_s3(self) -> Iterator[Entry]:
        where = self._bucket_key()
        prefix = where["Key"] + "/" if where["Key"] else ""
        more: dict[str, str] = {}
        while True:
            with s3_errors(self.uri):
                page = s3().call_s3("list_objects_v2", Bucket=where["Bucket"], Prefix=prefix, **more)
            for item in page.get("Contents", ()):
                name = item["Key"][len(prefix) :]
                if name.endswith("/"):
                    yield Entry(name.rstrip("/"), None, None, "folder")
                elif name:
                    yield Entry(name, item["Size"], item["ETag"].strip('"'))
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def read_bytes(self) -> bytes:
        """Read the whole file. Raises FileNotFoundError or another OSError."""
        if not self.is_s3:
            self.stat()  # opening a pipe would block forever
            return Path(self.uri).read_bytes()
        with s3_errors(self.uri):
            return bytes(s3().cat_file(self.uri))

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """A seekable stream of the file's bytes. Raises FileNotFoundError, or StorageError for a pipe or a device."""
        if not self.is_s3:
            self.stat()  # opening a pipe would block forever
            with open(self.uri, "rb") as local:
                yield local
            return
        with s3_errors(self.uri), s3().open(self.uri, "rb") as stream:
            yield stream

    def write_bytes(self, data: bytes) -> None:
        """Write the file atomically: readers see either the old bytes or all of the new ones."""
        if self.is_s3:
            with s3_errors(self.uri):
                s3().call_s3("put_object", **self._bucket_key(), Body=data)
            return
        with self.writing() as stream:
            stream.write(data)

    def write_if(self, data: bytes, version: str | None) -> str | None:
        """Write the file if it still has `version` (None: if it does not exist).

        Returns the new version, or None if the file has another version and was not written.
        """
        if not self.is_s3:
            return self._write_if_local(data, version)
        condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": f'"{version}"'}
        with s3_errors(self.uri):
            try:
                done = s3().call_s3("put_object", **self._bucket_key(), Body=data, **condition)
            except OSError as error:
                if s3_client.status_of(error) in CONDITION_FAILED:
                    return None
                raise
        return str(done["ETag"]).strip('"')

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
    def writing(self) -> Iterator[BinaryIO]:
        """A stream whose bytes appear under this name only if the block ends without error; else the old ones stay."""
        with self._uploading() if self.is_s3 else self._replacing() as stream:
            yield stream

    @contextlib.contextmanager
    def _uploading(self) -> Iterator[BinaryIO]:
        with s3_errors(self.uri):
            stream = s3().open(self.uri, "wb")
            try:
                yield stream
            except BaseException:
                stream.closed = True  # or its end would complete the upload
                with contextlib.suppress(Exception):  # of a store that is gone; the first error counts
                    stream.discard()
                raise
            stream.close()

    @contextlib.contextmanager
    def _replacing(self) -> Iterator[BinaryIO]:
        os.makedirs(os.path.dirname(self.uri), exist_ok=True)
        temporary = f"{self.uri}.{uuid.uuid4().hex}.tmp"
        try:
            with open(temporary, "wb") as stream:
                yield stream
            os.replace(temporary, self.uri)
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
                s3().call_s3("delete_object", **self._bucket_key())
        else:
            Path(self.uri).unlink(missing_ok=True)

    def delete_below(self, names: Sequence[str]) -> None:
        """Delete files below this folder, those that exist; on S3 1,000 of them with a request."""
        if not self.is_s3:
            for name in names:
                self.join(name).delete()
            return
        where = self._bucket_key()
        for start in range(0, len(names), DELETED_AT_ONCE):
            some = [{"Key": self.join(name)._bucket_key()["Key"]} for name in names[start : start + DELETED_AT_ONCE]]
            with s3_errors(self.uri):
                answer = s3().call_s3("delete_objects", Bucket=where["Bucket"], Delete={"Objects": some, "Quiet": True})
            if failed := answer.get("Errors"):
                raise StoreFailure(f"{self.uri}: {len(failed)} files were not deleted, {failed[0].get('Code')}")

    @contextlib.contextmanager
    def local_copy(self) -> Iterator[str]:
        """A local path with this file's bytes: its own path, or that of a temporary copy of the S3 object."""
        if not self.is_s3:
            yield self.uri
            return
        # keep the extension, which decoders use for formats without a signature
        with tempfile.NamedTemporaryFile(prefix="asid-", suffix=os.path.splitext(self.name)[1]) as copy:
            with s3_errors(self.uri):
                s3().get_file(self.uri, copy.name)
            yield copy.name

    def arrow(self) -> tuple[pyarrow.fs.FileSystem, str]:
        """An Arrow filesystem, and this location's path in it."""
        if not self.is_s3:
            return pyarrow.fs.LocalFileSystem(), self.uri
        return s3_client.arrow_filesystem(), self.uri[5:]

    def lance(self) -> tuple[str, dict[str, str]]:
        """URI and storage options for `lance` and `lancedb`; credentials stay in the environment."""
        return self.uri, s3_client.lance_options() if self.is_s3 else {}
