"""One recording in, safely: ATIS .bin, AEDAT 2.0 and 3.1, and .npz. The only room that knows these formats.

Spikingjelly reads the first three as well, but takes a truncated file for a shorter one and a foreign file for events,
leaves N-MNIST's overflow events in, and its AEDAT 3.1 reader is a Python loop over events. Tests compare both.
"""

from __future__ import annotations

import io
import re
import struct
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

from spikevae.data.events.recording import MOST_EVENTS, Recording, Size, recording_of

RECORDING_SUFFIXES = frozenset({".bin", ".aedat", ".aedat4", ".npz"})

_OVERFLOW_ROW, _OVERFLOW_TIME = 240, 2**13  # an event in this row of an ATIS file moves on the clock
_MOST_LATE = 0.05  # share of an ATIS file's events; real recordings have none, random bytes about 0.38
_NO_ATIS = "it is no ATIS file or damaged; get it again, or write t, x, y and p to an .npz file"
_FEW = 10  # events that may be late in any file
_LARGEST_FILE = 8 * MOST_EVENTS + 2**20  # bytes
_LONGEST_HEADER = 10_000  # bytes; of an array's numpy refuses longer ones, but reads them first
_MOST_EMPTY = 1_000  # recordings of a file without an event
_PACKET = struct.Struct("<hhiiiiii")  # AEDAT 3.1: type, source, size, time offset, overflow, capacity, number, valid
_POLARITY_EVENTS = 1
_DVS128 = 128  # pixels each way


def read_recording(path: Path | str, *, size: Size | None = None) -> Recording:
    """Read a file with one recording, in the format that its suffix and its first bytes name.

    Args:
        path: an ATIS ``.bin``, an ``.aedat`` of version 2.0 (DVS128) or 3.1, or an ``.npz`` with t, x, y and p.
        size: height and width of the sensor; otherwise the file's, or just large enough for the events.

    Raises:
        ValueError: if it is no file, or it is empty, truncated, damaged, of another kind or of another sensor.
        OSError: if it cannot be opened.
    """
    path = Path(path)
    return decode_recording(_content(path), path.suffix, name=str(path), size=size)


def read_recordings(path: Path | str) -> list[Recording]:
    """Read a file with one or several recordings: several are in ``.npz`` files alone, as `save_recordings` writes.

    Raises:
        ValueError: as `read_recording` does.
        OSError: if it cannot be opened.
    """
    path = Path(path)
    if path.suffix.lower() != ".npz":
        return [read_recording(path)]
    content = _content(path)
    if len(content) > _LARGEST_FILE:
        raise ValueError(f"{path} is larger than {_LARGEST_FILE:,} bytes; cut it into shorter files")
    try:
        make, offsets = _npz_events(content, None)
        return [make(slice(*ends)) for ends in pairwise(offsets.tolist())]
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as recordings: {error}") from error


def decode_recording(content: bytes, suffix: str, *, name: str, size: Size | None = None) -> Recording:
    """The recording in the content of a file.

    Args:
        content: all bytes of the file.
        suffix: of its name, which tells the formats apart.
        name: what to call the file in errors.
        size: height and width of the sensor; otherwise the file's, or just large enough for the events.

    Raises:
        ValueError: as `read_recording` does.
    """
    if not content:
        raise ValueError(f"{name} is empty; replace or remove it")
    if len(content) > _LARGEST_FILE:
        raise ValueError(f"{name} is larger than {_LARGEST_FILE:,} bytes; cut the recording into shorter files")
    decode = {".bin": _decode_atis, ".aedat": _decode_aedat, ".aedat4": _decode_aedat, ".npz": _decode_npz}.get(
        suffix.lower()
    )
    if decode is None:
        known = ", ".join(sorted(RECORDING_SUFFIXES))
        raise ValueError(f"{name}: recordings are not read from {suffix or 'files without a suffix'}; use {known}")
    try:
        recording = decode(content, size)
    except ValueError as error:
        raise ValueError(f"{name} cannot be read as a recording: {error}") from error
    if not len(recording):
        raise ValueError(f"{name} holds no events; replace or remove it")
    return recording


def _content(path: Path) -> bytes:
    if path.exists() and not path.is_file():  # a pipe might never answer
        raise ValueError(f"{path} is a folder, a pipe or a device; expected a file")
    with path.open("rb") as file:
        return file.read(_LARGEST_FILE + 1)


def _decode_atis(content: bytes, size: Size | None) -> Recording:
    """Five bytes an event: x; y; polarity (1 bit) and time (23 bits, microseconds), the highest byte first.

    An event with y = 240 is none: the times of all that follow grow by 2^13 (Orchard's own ``read_dataset``). Where the
    time falls by more than half of what 23 bits hold, the clock has run over, as in recordings of 9 seconds. (An event
    that comes late there is taken for a second such fall.) The format has no mark of its own: a file is none where
    events lie in later rows, or many come late.
    """
    if len(content) % 5:
        raise ValueError(
            f"{len(content):,} bytes are no whole number of 5-byte events; it is truncated or no ATIS file"
        )
    if len(content) // 5 > MOST_EVENTS:
        raise ValueError(f"it holds {len(content) // 5:,} events, more than {MOST_EVENTS:,}; cut it into shorter files")
    x, y, high, middle, low = np.frombuffer(content, np.uint8).reshape(-1, 5).T
    t = (high & 0x7F).astype(np.int64)
    for byte in (middle, low):
        t <<= 8
        t |= byte
    outside = int(np.count_nonzero(y > _OVERFLOW_ROW))
    if outside:
        raise ValueError(f"{outside:,} of its {len(y):,} events lie below row {_OVERFLOW_ROW - 1}; {_NO_ATIS}")
    is_overflow = y == _OVERFLOW_ROW
    late = _OVERFLOW_TIME * np.cumsum(is_overflow)
    if is_overflow.any():
        t, x, y, high, late = (values[~is_overflow] for values in (t, x, y, high, late))
    late[1:] += 2**23 * np.cumsum(np.diff(t) < -(2**22))  # the clock has 23 bits
    t += late
    falls = int(np.count_nonzero(t[1:] < t[:-1]))
    if falls > _FEW + _MOST_LATE * len(t):
        raise ValueError(f"its times run backwards in {falls / len(t):.0%} of the events; {_NO_ATIS}")
    return recording_of(t, x, y, high >> 7, size)


def _decode_aedat(content: bytes, size: Size | None) -> Recording:
    if not content.startswith(b"#"):
        raise ValueError("it does not begin with a line #!AER-DAT2.0 or #!AER-DAT3.1; it is no AEDAT file")
    mark = re.match(rb"(?:#[^\n]*\n)*?#!AER-DAT(\d{1,4})", content[:_LONGEST_HEADER])
    version = int(mark[1]) if mark else 0
    if version == 2:
        return _decode_aedat2(content, size or (_DVS128, _DVS128))
    if version == 3:
        return _decode_aedat3(content, size)
    if version == 4:
        raise ValueError(
            "it is AEDAT 4, for which no reader is installed; write t, x, y and p to an .npz file (dv-processing can)"
        )
    if version == 1:
        raise ValueError("it is AEDAT 1.0; save it as 2.0 with jAER")
    said = f"says version {version}" if mark else "has no line #!AER-DAT2.0 or #!AER-DAT3.1"
    raise ValueError(f"its header {said}; read are 2.0 and 3.1: save it as one of these, or as .npz")


def _decode_aedat2(content: bytes, size: Size) -> Recording:
    """After lines that begin with ``#``: address and time, 4 bytes each, the highest first, of a DVS128.

    Bit 0 of the address is 0 for ON, bits 1 to 7 and 8 to 14 count the sensor's rows and columns from its far corner,
    as CIFAR10-DVS is read everywhere. Bit 15 marks what is no event of a pixel. The vendor's own files
    (docs/events.md), which nothing tells apart, are read turned a quarter to the left, with ON and OFF exchanged.
    """
    start = 0
    while content[start : start + 1] == b"#":
        end = content.find(b"\n", start)
        if end < 0:
            raise ValueError("its header does not end; it is truncated")
        start = end + 1
    if (len(content) - start) % 8:
        raise ValueError(
            f"{len(content) - start:,} bytes after the header are no whole number of 8-byte events; "
            "it is truncated or no AEDAT 2.0 file"
        )
    address, time = np.frombuffer(content, ">u4", offset=start).reshape(-1, 2).T
    if len(address) and address.max() >= 2**16:
        raise ValueError(f"the address {address.max():#x} is none of a DVS128, the one camera read from AEDAT 2.0")
    of_pixels = address < 2**15
    address, t = address[of_pixels].astype(np.int64), time[of_pixels].astype(np.int64)
    if len(t):
        t[1:] -= 2**32 * np.cumsum(np.rint(np.diff(t) / 2**32).astype(np.int64))  # of 32 bits: it may run over
    return recording_of(t, 127 - (address >> 8 & 0x7F), 127 - (address >> 1 & 0x7F), 1 - (address & 1), size)


def _decode_aedat3(content: bytes, size: Size | None) -> Recording:
    """Packets after ``#!END-HEADER``: 28 bytes, then events; of polarity events data and time, 4 bytes each.

    In the data, bit 0 marks a valid event, bit 1 is the polarity, bits 2 to 16 are y, and 17 to 31 x. The clock has
    31 bits; the packet says how often it has run over. Packets of other types are passed over.
    """
    mark = b"#!END-HEADER"
    at = content.find(mark)
    start = content.find(b"\n", at) + 1
    if at < 0 or not start or content[at + len(mark) : start].strip():
        raise ValueError("its header does not end with a line #!END-HEADER; it is truncated or no AEDAT 3.1 file")
    data, times = bytearray(), bytearray()  # not an array for each packet, which may have one event
    while start < len(content):
        if len(content) - start < _PACKET.size:
            raise ValueError(f"a packet begins at byte {start:,} and the file ends in its header; it is truncated")
        kind, _, event_size, _, overflow, capacity, number, _ = _PACKET.unpack_from(content, start)
        start += _PACKET.size
        if kind < 0:  # the top bit
            raise ValueError("it holds compressed packets, which are not read; save it uncompressed")
        if event_size < 8 or not 0 <= number <= capacity or overflow < 0:
            raise ValueError(
                f"the packet that ends at byte {start:,} says {number} of {capacity} events of {event_size} bytes; "
                "it is damaged"
            )
        if capacity * event_size > len(content) - start:
            raise ValueError(
                f"the packet at byte {start:,} has {capacity * event_size:,} bytes of events and "
                f"{len(content) - start:,} are left; it is truncated"
            )
        if kind == _POLARITY_EVENTS and number:
            events = np.frombuffer(content, np.uint8, number * event_size, start).reshape(number, event_size)
            words = np.ascontiguousarray(events[:, :8]).view("<u4")
            data += words[:, 0].tobytes()
            times += (words[:, 1].astype(np.int64) | overflow << 31).tobytes()
        start += capacity * event_size
    events, t = np.frombuffer(data, "<u4"), np.frombuffer(times, np.int64)
    is_valid = events & 1 == 1
    if is_valid.any():  # otherwise all count: some writers never set the mark
        events, t = events[is_valid], t[is_valid]
    return recording_of(t, events >> 17, events >> 2 & 0x7FFF, events >> 1 & 1, size)


def _decode_npz(content: bytes, size: Size | None) -> Recording:
    make, offsets = _npz_events(content, size)
    if len(offsets) != 2:
        raise ValueError(f"it holds {len(offsets) - 1} recordings; read_recordings reads them all")
    return make(slice(None))


def _npz_events(content: bytes, size: Size | None) -> tuple[Callable[[slice], Recording], np.ndarray]:
    """What makes a recording of a stretch of the events, and where recordings begin and end, [N + 1]."""
    arrays: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in ("t", "x", "y", "p", "size", "offsets"):
                if f"{name}.npy" in archive.namelist():
                    arrays[name] = _read_array(archive, name)
    except _ArrayError:
        raise
    except Exception as error:  # damaged archives raise errors of every kind, some with their whole content
        raise ValueError(f"it is damaged or no .npz file ({type(error).__name__})") from error
    missing = [name for name in "txyp" if name not in arrays]
    if missing:
        raise ValueError(f"it has no array {', '.join(missing)}; expected t (microseconds), x, y and p (0 or 1)")
    if size is None and "size" in arrays:
        if arrays["size"].shape != (2,):
            raise ValueError(f"its array size is {list(arrays['size'].shape)}; expected height and width")
        size = (int(arrays["size"][0]), int(arrays["size"][1]))
    count = len(arrays["t"])
    offsets = arrays.get("offsets", np.asarray([0, count])).astype(np.int64)
    # Compared and not subtracted, which could run over.
    is_rising = len(offsets) >= 2 and bool((offsets[1:] >= offsets[:-1]).all())
    if not is_rising or offsets[0] != 0 or offsets[-1] != count:
        raise ValueError(f"its offsets do not rise from 0 to {count}, the number of its events")
    if len(offsets) - 1 > count + _MOST_EMPTY:  # a small file could hold millions
        raise ValueError(f"it has {len(offsets) - 1:,} recordings, most of them without an event")

    def make(part: slice) -> Recording:
        t, x, y, p = (arrays[name][part] for name in "txyp")
        return recording_of(t, x, y, p, size)

    return make, offsets


class _ArrayError(ValueError):
    """An array is not what it should be."""


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """A list of whole numbers, of which not more is read than it may hold: a small file can unpack to a huge one."""
    with archive.open(f"{name}.npy") as file:
        header = _array_header(file.read, name)
        version = np.lib.format.read_magic(header)
        read_header: Callable[..., tuple[tuple[int, ...], bool, np.dtype]] = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read_header(header)
        if len(shape) != 1 or shape[0] < 0 or dtype.kind not in "iub":
            raise _ArrayError(f"{name} is {dtype} {list(shape)}; expected a list of whole numbers")
        if shape[0] > MOST_EVENTS:
            raise _ArrayError(f"{name} has {shape[0]:,} entries, more than {MOST_EVENTS:,}; cut it into shorter files")
        return np.frombuffer(file.read(shape[0] * dtype.itemsize), dtype, shape[0])


def _array_header(read: Callable[[int], bytes], name: str) -> io.BytesIO:
    """What stands in front of an array's numbers, and no more of the file."""
    start = read(12)  # mark and version, 8 bytes, and the header's length: 2 bytes of version 1, 4 of others
    is_old = start[6:8] == b"\1\0"
    (length,) = struct.unpack_from("<H" if is_old else "<I", start, 8)
    if length > _LONGEST_HEADER:
        raise _ArrayError(f"{name} has a header of {length:,} bytes, more than {_LONGEST_HEADER:,}")
    return io.BytesIO(start + read(max(length - (2 if is_old else 0), 0)))
