"""Lists a local folder recursively, without following circular links or blocking on pipes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Entry:
    """One item below a Location. `version` is the ETag on S3, else the modification time in ns."""

    name: str  # relative to the listed location, with /
    size_bytes: int | None
    version: str | None
    # special: a pipe, socket or device; outside: a link to a place outside the listed folder, which is not followed
    kind: Literal["file", "folder", "unreadable", "special", "outside"] = "file"
    problem: str | None = None  # why it is unreadable


class FolderWalk:
    """One listing of a local folder."""

    def __init__(self, root: str, follow_outside: bool) -> None:
        self._inside = os.path.join(os.path.realpath(root), "")
        self._follow_outside = follow_outside
        # device and inode of folders reached through links; each is entered through a link only once
        self._linked: set[tuple[int, int]] = set()

    def entries(self, folder: str, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[Entry]:
        """List `folder`; names are prefixed by `prefix`. above: device and inode of the folders that contain it."""
        try:
            here = os.stat(folder)
            with os.scandir(folder) as entries:
                items = sorted(entries, key=lambda item: item.name)
        except FileNotFoundError:
            return
        except OSError as error:
            yield Entry(prefix.rstrip("/") or ".", None, None, "unreadable", error.strerror)
            return
        identity = (here.st_dev, here.st_ino)
        if identity in above:
            return
        for item in items:
            name = prefix + item.name
            try:
                entry = self._entry(item, name)
                enters = entry.kind == "folder" and self._enters(item)
            except OSError as error:
                yield Entry(name, None, None, "unreadable", error.strerror)
                continue
            yield entry
            if enters:
                yield from self.entries(item.path, name + "/", (*above, identity))

    def _entry(self, item: os.DirEntry[str], name: str) -> Entry:
        about = item.stat()
        if item.is_symlink() and not self._follow_outside and not self._is_inside(item.path):
            return Entry(name, None, None, "outside")
        if stat.S_ISDIR(about.st_mode):
            return Entry(name, None, None, "folder")
        if not stat.S_ISREG(about.st_mode):
            return Entry(name, None, None, "special")
        return Entry(name, about.st_size, str(about.st_mtime_ns))

    def _is_inside(self, path: str) -> bool:
        return os.path.join(os.path.realpath(path), "").startswith(self._inside)

    def _enters(self, item: os.DirEntry[str]) -> bool:
        if not item.is_symlink():
            return True
        about = item.stat()
        identity = (about.st_dev, about.st_ino)
        is_new = identity not in self._linked
        self._linked.add(identity)
        return is_new
