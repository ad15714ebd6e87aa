"""Made recordings, in files as the data sets of event cameras have them, and spikingjelly's readers to compare with."""

from __future__ import annotations

import importlib
import struct
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import spikingjelly

from spikevae.data.events.recording import Recording, Size, recording_of
from spikevae.data.events.writers import encode_atis


def made_recording(count: int = 200, *, size: Size = (34, 34), seed: int = 0, duration: int = 300_000) -> Recording:
    """Events at random places and times, from 0 to ``duration`` microseconds."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, duration, count))
    return recording_of(
        t, rng.integers(0, size[1], count), rng.integers(0, size[0], count), rng.integers(0, 2, count), size
    )


def encode_aedat2(recording: Recording) -> bytes:
    """As jAER writes what a DVS128 sees: the sensor's own rows and columns count from its far corner."""
    address = (127 - recording.x.astype(">u4")) << 8 | (127 - recording.y.astype(">u4")) << 1 | (1 - recording.p)
    words = np.stack([address, recording.t], axis=1).astype(">u4")
    return b"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n" + words.tobytes()


def encode_aedat3(recording: Recording, *, packet: int = 64) -> bytes:
    """As caer writes it: packets of polarity events, with one of another kind in front."""
    content = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n"
    content += struct.pack("<hhiiiiii", 0, 1, 8, 4, 0, 2, 2, 2) + bytes(16)
    for start in range(0, len(recording), packet):
        part = slice(start, start + packet)
        t, x, y, p = (values[part].astype(np.int64) for values in (recording.t, recording.x, recording.y, recording.p))
        overflow = int(t[0] >> 31)
        assert (t >> 31 == overflow).all(), "a packet has one overflow"
        words = np.stack([x << 17 | y << 2 | p << 1 | 1, t & 0x7FFFFFFF], axis=1).astype("<u4")
        content += struct.pack("<hhiiiiii", 1, 1, 8, 4, overflow, len(t), len(t), len(t)) + words.tobytes()
    return content


def write_n_mnist(root: Path, *, train: int = 40, test: int = 10, packed: bool = True) -> None:
    """A data root with made recordings laid out as N-MNIST's archives, or as the folders in them."""
    for stem, count in (("Train", train), ("Test", test)):
        files = {
            f"{stem}/{number % 10}/{number + 1:05}.bin": encode_atis(made_recording(seed=number))
            for number in range(count)
        }
        write_files(root / "NMNIST", files, archive=f"{stem}.zip" if packed else None)


def write_dvs128(root: Path, labels: str) -> None:
    """A data root with a training and a test recording laid out as in ``DvsGesture.tar.gz``, both labelled alike."""
    recording = made_recording(900, size=(128, 128))
    files = {"trials_to_train.txt": b"user01_fluorescent.aedat\n\n", "trials_to_test.txt": b"user29_led.aedat\n"}
    for stem in ("user01_fluorescent", "user29_led"):
        files[f"{stem}.aedat"] = encode_aedat3(recording)
        files[f"{stem}_labels.csv"] = labels.encode()
    write_files(root / "DVS128Gesture" / "DvsGesture", files)


def write_files(folder: Path, files: dict[str, bytes], archive: str | None = None) -> None:
    """Write files into a folder, or into an archive in it."""
    folder.mkdir(parents=True, exist_ok=True)
    if archive:
        with zipfile.ZipFile(folder / archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in files.items():
                packed.writestr(name, content)
        return
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def spikingjelly_module(name: str) -> Any:
    """A module of ``spikingjelly.datasets`` without the package's own start, which fails where torchaudio does."""
    package = "spikingjelly.datasets"
    if package not in sys.modules:
        bare = types.ModuleType(package)
        bare.__path__ = [str(Path(spikingjelly.__file__ or "").parent / "datasets")]
        sys.modules[package] = bare
    return importlib.import_module(f"{package}.{name}")
