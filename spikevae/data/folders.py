"""The pictures of a folder, a tar file or a zip file: which files count."""

from __future__ import annotations

import logging
import os
import struct
import tarfile
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from spikevae.data.decode import IMAGE_SUFFIXES
from spikevae.data.image_files import ImageFile as ImageFile
from spikevae.data.image_files import ZippedImage
from spikevae.data.names import ARCHIVES, is_passed_over
from spikevae.data.walk import each_once, is_folder, walk
from spikevae.files import open_regular

log = logging.getLogger(__name__)

_UNREAD = frozenset(
    f".{suffix}"
    for suffixes in (
        "heic heics heif heifs hif avci",  # of phones and cameras
        "3fr arw bay cap cr2 cr3 crw dcr dng erf fff gpr iiq k25 kdc mef mos mrw nef nrw orf ori pef raf raw rw2 rwl",
        "sr2 srf srw x3f",  # as the line above: what cameras call their raw files
        "jxl jxr wdp hdp jpc j2c exr hdr dds fits xpm xbm",
        "svg svgz eps ai wmf emf psd psb xcf kra dcm dicom",
    )
    for suffix in suffixes.split()
)
"""Suffixes of pictures that are not read: they are counted and named, so that nobody misses them."""
_PACKED = frozenset({".npy", ".npz", ".zip", ".tar", ".tgz", ".gz", ".7z", ".rar"})
"""Suffixes of files that may hold pictures, and are read on their own, not in a folder: counted and named, too."""


@dataclass(frozen=True, order=True)
class Picture:
    """A picture of a folder: where it lies in it, and how it is read."""

    place: PurePosixPath
    file: ImageFile = field(compare=False)
    real: str = field(default="", compare=False)
    """The path of the file that links lead to; empty of one in an archive."""

    def inside(self) -> Picture:
        """The same, seen from the first folder on its way."""
        return replace(self, place=PurePosixPath(*self.place.parts[1:]))


def list_pictures(path: Path) -> list[ImageFile]:
    """All pictures in a folder, at any depth, or in a tar or zip file, in the order of their names.

    What is left out and could be missed is logged in one line. Never counted, and not worth a word, are hidden files
    and folders, what programs leave half written, and files that are no pictures.

    Raises:
        ValueError: if there is none, or the file is damaged.
        OSError: if a folder in it cannot be read.
    """
    return [picture.file for picture in list_places(path)]


def list_places(path: Path) -> list[Picture]:
    """As `list_pictures`, each with its place."""
    left_out: Counter[str] = Counter()
    if path.is_dir():
        pictures = _in_folder(path, left_out)
    else:
        with open_regular(path) as file:
            read = _in_zip if zipfile.is_zipfile(file) else _in_tar
        members = list(read(path, left_out))
        pictures = list({member.place: member for member in members}.values())  # unpacked, the last one of a name stays
        left_out["earlier files of the same name"] += len(members) - len(pictures)
    places = {str(picture.place) for picture in pictures}
    kept = [picture for picture in pictures if not _is_original(picture.place, places)]
    left_out["originals beside their reconstructions"] += len(pictures) - len(kept)
    words = ", ".join(f"{count:,} {what}" for what, count in left_out.items() if count)
    if not kept:
        beside = f"; left out: {words}" if words else ""
        raise ValueError(f"{path} holds no images (files such as .png, .jpg, .webp){beside}")
    if words:
        log.warning("%s: %d pictures are read; left out: %s", path, len(kept), words)
    return sorted(kept)


def _in_folder(root: Path, left_out: Counter[str]) -> list[Picture]:
    places: dict[str, PurePosixPath] = {}
    found: list[os.DirEntry[str]] = []
    for place, entries in walk(root, left_out):
        names = {entry.name for entry in entries}
        if place.parts and _is_run(names):
            left_out["folders of runs and models"] += 1
            entries.clear()
        own = {"previews"} if "run.json" in names else set()
        entries[:] = [entry for entry in entries if not (is_passed_over(entry.name) or entry.name in own)]
        for entry in entries:
            if not is_folder(entry) and _is_counted(entry.name, left_out):
                if os.path.isfile(entry.path):
                    found.append(entry)
                    places[entry.path] = place / entry.name
                else:
                    left_out["broken links, pipes or devices"] += 1
    once = each_once(found, left_out)
    return [Picture(places[entry.path], ImageFile(Path(entry.path)), real) for real, entry in once]


def _in_tar(path: Path, left_out: Counter[str]) -> list[Picture]:
    found: list[Picture] = []
    try:
        with open_regular(path) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            files: dict[str, tarfile.TarInfo] = {}  # a hard link is a further name of one of them
            for member in archive:
                place = PurePosixPath(member.name)
                content = files.get(member.linkname) if member.islnk() else member
                if content is not None and content.isfile():
                    files[member.name] = content
                    found.append(Picture(place, ImageFile(path, member.name, content.offset_data, content.size)))
                elif (member.issym() or member.islnk()) and not any(map(is_passed_over, place.parts)):
                    left_out["links, which are not followed in an archive"] += 1
    except tarfile.TarError as error:
        kinds = "neither a folder, nor a whole, uncompressed tar file, nor a zip file"
        reason = f" ({error})" if path.suffix.lower() in ARCHIVES else ""  # of a tar file, which others are not
        raise ValueError(f"{path} is {kinds}{reason}") from error
    return _counted_in_archive(found, left_out)


def _in_zip(path: Path, left_out: Counter[str]) -> list[Picture]:
    found: list[Picture] = []
    try:
        archive = zipfile.ZipFile(path)
        for member in archive.infolist():
            place = PurePosixPath(member.filename.replace("\\", "/"))  # as some programs of Windows write it
            if member.filename and not member.is_dir():
                found.append(Picture(place, ZippedImage(path, member.filename, archive=archive)))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, struct.error) as error:
        raise ValueError(f"{path} is truncated or no zip file ({error}); get it again") from error
    except OSError as error:
        if error.filename is not None:
            raise
        raise ValueError(f"{path} is damaged ({error}); get it again") from error
    return _counted_in_archive(found, left_out)


def _counted_in_archive(files: list[Picture], left_out: Counter[str]) -> list[Picture]:
    """The pictures among the files of an archive, without those of runs, as in a folder.

    The folder that all files lie in is the root: if that is a run, only its previews are left out.
    """
    left_out["files whose names lead out of the archive"] += sum(".." in file.place.parts for file in files)
    files = [file for file in files if not any(map(is_passed_over, file.place.parts))]  # ".." too
    names: dict[PurePosixPath, set[str]] = {}
    for file in files:
        names.setdefault(file.place.parent, set()).add(file.place.name)
    above = {folder: {folder, *folder.parents} for folder in names}
    shared: set[PurePosixPath] = set.intersection(*above.values()) if above else set()
    root = max(shared, key=lambda folder: len(folder.parts), default=PurePosixPath())
    runs = {folder for folder in names if folder != root and _is_run(names[folder])}
    left_out["folders of runs and models"] += sum(runs.isdisjoint(run.parents) for run in runs)
    own = {root / "previews"} if "run.json" in names.get(root, ()) else set()
    kept = {folder for folder in names if above[folder].isdisjoint(runs | own)}
    return [file for file in files if file.place.parent in kept and _is_counted(file.place.name, left_out)]


def _is_counted(name: str, left_out: Counter[str]) -> bool:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in _UNREAD:
        left_out[f"{suffix} files, which are not read (save them as .png or .jpg)"] += 1
    if suffix in _PACKED:
        left_out[f"{suffix} files, which are not read here (give each on its own, or unpack it)"] += 1
    return suffix in IMAGE_SUFFIXES


def _is_run(names: set[str]) -> bool:
    """Whether the files of a folder are those of a training run or a model."""
    return "run.json" in names or {"config.json", "model.safetensors"} <= names


def _is_original(place: PurePosixPath, places: set[str]) -> bool:
    """Whether this is what `spikevae reconstruct` writes beside a reconstruction: ``0001_original.png``."""
    stem = place.stem.removesuffix("_original")
    return stem != place.stem and str(place.with_name(stem + place.suffix)) in places
