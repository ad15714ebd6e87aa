"""Where recordings lie: files on their own, members of zip files, and stretches of longer recordings."""

from __future__ import annotations

import logging
import os
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from spikevae.data.events.readers import RECORDING_SUFFIXES, decode_recording, read_recording, read_recordings
from spikevae.data.events.recording import Recording, Size
from spikevae.data.names import is_passed_over
from spikevae.data.walk import each_once, walk

log = logging.getLogger(__name__)

_LARGEST_MEMBER = 2**28  # bytes


@dataclass(frozen=True)
class RecordingFile:
    """A recording that is a file, a member of an archive, or the part of one between two times (microseconds).

    With a number, it is one of several in an ``.npz`` file, from 0 on.
    """

    path: Path
    member: str = ""
    start: int | None = None
    end: int | None = None
    size: Size | None = None
    number: int | None = None

    @property
    def name(self) -> str:
        """What to call it in messages."""
        name = f"{self.path}: {self.member}" if self.member else str(self.path)
        if self.number is not None:
            return f"{name}: {self.number}"
        return name if self.start is None else f"{name}, {self.start} to {self.end} µs"

    def read(self) -> Recording:
        """The recording alone; `read_all` is faster for many."""
        return next(read_all([self]))


class Archive:
    """A zip file, opened once for as many members as are read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
            raise ValueError(f"{path} is truncated or no zip file ({type(error).__name__}); get it again") from error

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def recordings(self) -> list[str]:
        """Members that are named like recordings and not hidden (as macOS's ``__MACOSX/._…``), sorted."""
        names = [info.filename for info in self._file.infolist() if not info.is_dir()]
        return sorted(name for name in names if is_recording(Path(name)))

    def read(self, member: str) -> bytes:
        """The content of a member.

        Raises:
            ValueError: if it is missing, damaged or huge.
        """
        try:
            length = self._file.getinfo(member).file_size
            if length <= _LARGEST_MEMBER:
                return self._file.read(member)
        except Exception as error:  # damaged archives raise errors of every kind
            raise ValueError(
                f"{self._path}: {member} is damaged ({type(error).__name__}); get the archive again"
            ) from error
        raise ValueError(f"{self._path}: {member} unpacks to {length:,} bytes, more than {_LARGEST_MEMBER:,}")


def read_all(files: Sequence[RecordingFile]) -> Iterator[Recording]:
    """The recordings one by one. What holds several, or is cut into several, is read once if they follow each other.

    Raises:
        ValueError: if one is empty, truncated, damaged, of another kind or of another sensor.
        OSError: if one cannot be opened.
    """
    with ExitStack() as opened:
        archive: Archive | None = None
        before: RecordingFile | None = None
        whole: Recording | None = None
        several: list[Recording] = []
        for file in files:
            is_same = before is not None and before.path == file.path
            if file.number is not None:
                several = several if is_same and several else read_recordings(file.path)
                before, whole = file, several[file.number]
                yield whole
                continue
            if not is_same:
                opened.close()
                archive = opened.enter_context(Archive(file.path)) if file.member else None
            if whole is None or before is None or not is_same or before.member != file.member:
                whole = _read_whole(file, archive)
            before = file
            if file.start is None or file.end is None:
                yield whole
                continue
            part = whole.between(file.start, file.end)
            if not len(part):
                raise ValueError(f"{file.name} holds no events; its labels and its events do not belong together")
            yield part


def _read_whole(file: RecordingFile, archive: Archive | None) -> Recording:
    if archive is None:
        return read_recording(file.path, size=file.size)
    whole_name = f"{file.path}: {file.member}"
    return decode_recording(archive.read(file.member), Path(file.member).suffix, name=whole_name, size=file.size)


def list_recordings(folder: Path, left_out: Counter[str] | None = None) -> list[RecordingFile]:
    """Files of a folder, at any depth, that are named like recordings, in the order of their names.

    What is hidden, half written or left behind by a system is passed over, and so is all that lies in such a folder.
    Links are followed, each folder and each file once.

    Args:
        folder: none if there is no such folder.
        left_out: counts the links that lead to what was read already.

    Raises:
        OSError: if a folder in it cannot be read.
    """
    if not folder.is_dir():
        return []
    left_out = Counter() if left_out is None else left_out
    found: list[os.DirEntry[str]] = []
    for _, entries in walk(folder, left_out):
        entries[:] = [entry for entry in entries if not is_passed_over(entry.name)]
        found += [entry for entry in entries if is_recording(Path(entry.name)) and os.path.isfile(entry.path)]
    return [RecordingFile(path) for path in sorted(Path(entry.path) for _, entry in each_once(found, left_out))]


def recordings_in(path: Path) -> list[RecordingFile]:
    """Those of a folder, in the order of their names, or of a file: an ``.npz`` file may hold several.

    Raises:
        ValueError: if a file that may hold several is damaged, or one of them holds no events.
        OSError: if it cannot be opened.
    """
    if path.is_dir():
        left_out: Counter[str] = Counter()
        files = [file for found in list_recordings(path, left_out) for file in recordings_in(found.path)]
        for what, count in left_out.items():
            log.warning("%s: left out: %d %s", path, count, what)
        return files
    if not _may_hold_several(path):
        return [RecordingFile(path)]
    lengths = [len(recording) for recording in read_recordings(path)]
    if len(lengths) == 1:
        return [RecordingFile(path)]
    files = [RecordingFile(path, number=number) for number in range(len(lengths))]
    empty = next((file for file, length in zip(files, lengths, strict=True) if not length), None)
    if empty is not None:
        raise ValueError(f"{empty.name} holds no events; write the file anew without it")
    return files


def _may_hold_several(path: Path) -> bool:
    """Whether a file has the array that divides its events; a damaged one is left to its reader."""
    if path.suffix.lower() != ".npz" or not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as arrays:
            return "offsets.npy" in arrays.namelist()
    except Exception:  # damaged archives raise errors of every kind
        return False


def is_recording(name: Path) -> bool:
    """Whether a file is named like a recording, and neither it nor a folder in its name is hidden or passed over."""
    return name.suffix.lower() in RECORDING_SUFFIXES and not any(is_passed_over(part) for part in name.parts)
