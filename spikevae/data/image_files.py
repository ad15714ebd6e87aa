"""Image files, on their own or packed in an archive, and how each is read."""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from jaxtyping import UInt8
from torch import Tensor

from spikevae.data.decode import FILE_FORMATS
from spikevae.data.images import read_image
from spikevae.files import open_regular

_LARGEST_MEMBER = 2**28  # bytes of a picture in an archive
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError, ValueError)
"""What a packed file that is damaged, encrypted or of an unknown kind raises: an OSError where it is bzip2's."""


@dataclass(frozen=True, order=True)
class ImageFile:
    """An image file on its own, or one that is a stretch of a tar file."""

    path: Path
    member: str = ""
    offset: int = 0
    length: int = 0

    @property
    def name(self) -> str:
        """Its path, and its place in the file of that path if that holds several."""
        return f"{self.path}: {self.member}" if self.member else str(self.path)

    def read(
        self, channels: Literal[1, 3], size: int, crop: int | None = None
    ) -> UInt8[Tensor, "{channels} {size} {size}"]:
        """Decode it, as `read_image` does."""
        source = io.BytesIO(self.content()) if self.member else self.path
        return read_image(source, channels=channels, size=size, crop=crop, name=self.name, formats=FILE_FORMATS)

    def content(self) -> bytes:
        """The bytes of the stretch."""
        with open_regular(self.path) as file:
            file.seek(self.offset)
            return file.read(min(self.length, _LARGEST_MEMBER))


@dataclass(frozen=True, order=True)
class ZippedImage(ImageFile):
    """An image file that is packed in a zip file, which stays open."""

    archive: zipfile.ZipFile | None = field(default=None, compare=False)

    def content(self) -> bytes:
        """The bytes of the file, unpacked; a ValueError if it is damaged, encrypted or too large."""
        assert self.archive is not None
        try:
            with self.archive.open(self.member) as file:
                content = file.read(_LARGEST_MEMBER + 1)
        except _DAMAGED as error:
            if isinstance(error, OSError) and error.errno is not None:  # of the disk, not of the file
                raise
            raise ValueError(f"{self.path}: {self.member} cannot be unpacked ({error}); get the file again") from error
        if len(content) > _LARGEST_MEMBER:
            raise ValueError(f"{self.path}: {self.member} unpacks to more than {_LARGEST_MEMBER:,} bytes; remove it")
        return content
