"""Recordings are read event for event, and what is no recording is refused in one line."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikevae.data.events.files import RecordingFile, read_all
from spikevae.data.events.readers import decode_recording, read_recording, read_recordings
from spikevae.data.events.recording import Recording, recording_of
from spikevae.data.events.writers import check_recordings_path, encode_atis, save_recordings
from tests.made_events import encode_aedat2, encode_aedat3, made_recording, spikingjelly_module


def encode_npz(recording: Recording) -> bytes:
    file = io.BytesIO()
    np.savez(file, t=recording.t, x=recording.x, y=recording.y, p=recording.p)
    return file.getvalue()


def one_event(t: int, x: int, y: int, p: int) -> Recording:
    return recording_of(np.asarray([t]), np.asarray([x]), np.asarray([y]), np.asarray([p]))


def read_or_refuse(content: bytes, suffix: str) -> Recording | None:
    """The recording, or None where the content is refused in one line that names the file."""
    try:
        return decode_recording(content, suffix, name="odd.x", size=(128, 128))
    except ValueError as error:
        message = str(error)
    assert message.startswith("odd.x")
    assert "\n" not in message
    assert len(message) < 300
    return None


FORMATS: dict[str, tuple[str, Callable[[Recording], bytes]]] = {
    "atis": (".bin", encode_atis),
    "aedat2": (".aedat", encode_aedat2),
    "aedat3": (".aedat", encode_aedat3),
    "npz": (".npz", encode_npz),
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("count", [1, 333])
def test_a_written_recording_is_read_back_event_for_event(kind: str, count: int, tmp_path: Path) -> None:
    suffix, encode = FORMATS[kind]
    recording = made_recording(count, size=(128, 128))
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encode(recording))
    assert read_recording(path, size=(128, 128)).is_equal(recording)


@pytest.mark.parametrize(
    ("kind", "module", "reader"),
    [
        ("atis", "utils", "load_ATIS_bin"),
        ("aedat2", "cifar10_dvs", "_load_origin_data"),
        ("aedat3", "utils", "load_aedat_v3"),
    ],
)
def test_readers_agree_with_those_of_spikingjelly(kind: str, module: str, reader: str, tmp_path: Path) -> None:
    suffix, encode = FORMATS[kind]
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encode(made_recording(150, size=(128, 128))))
    theirs = getattr(spikingjelly_module(module), reader)(path)
    assert read_recording(path, size=(128, 128)).is_equal(recording_of(**theirs, size=(128, 128)))


@pytest.mark.parametrize("count", [1, 3])
def test_the_size_of_a_sensor_that_was_guessed_stays_a_guess_when_it_is_saved(count: int, tmp_path: Path) -> None:
    guessed = decode_recording(encode_atis(made_recording()), ".bin", name="a.bin")
    for name, one in (("guessed", guessed), ("known", made_recording())):
        save_recordings([one] * count, tmp_path / f"{name}.npz")
        found = read_recordings(tmp_path / f"{name}.npz")
        assert [one.is_size_known for one in found] == [name == "known"] * count
        assert all(read.is_equal(one) for read in found)


def test_an_npz_file_of_spikingjelly_is_read(tmp_path: Path) -> None:
    recording = made_recording()
    (tmp_path / "a.bin").write_bytes(encode_atis(recording))
    spikingjelly_module("utils")._save_atis_bin_as_npz(tmp_path / "a.bin", tmp_path / "a.npz")
    assert read_recording(tmp_path / "a.npz", size=recording.size).is_equal(recording)


def test_overflow_events_of_atis_move_on_the_clock_and_are_no_events() -> None:
    def event(x: int, y: int, t: int) -> bytes:
        return bytes((x, y, 1 << 7, t >> 8, t & 0xFF))

    content = event(1, 2, 100) + event(0, 240, 0) + event(3, 4, 50) + event(0, 240, 0) + event(5, 6, 7)
    recording = decode_recording(content, ".bin", name="a.bin")
    assert recording.t.tolist() == [100, 2**13 + 50, 2 * 2**13 + 7]
    assert recording.y.tolist() == [2, 4, 6]


def test_an_atis_clock_that_has_run_over_goes_on() -> None:
    late = made_recording(400, duration=20_000_000)  # its 23 bits hold 8.4 seconds
    low = late.t % 2**23
    rows = np.stack([late.x, late.y, late.p << 7 | low >> 16, low >> 8 & 255, low & 255], axis=1).astype(np.uint8)
    assert decode_recording(rows.tobytes(), ".bin", name="a", size=(34, 34)).is_equal(late)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.random.default_rng(0).bytes(5_000), r"[56]\d of its 1,000 events lie below row 239"),
        (
            np.random.default_rng(0).integers(0, 200, 5_000, dtype=np.uint8).tobytes(),
            r"run backwards in [34]\d% of the",
        ),
        (("A letter of some length, which is no recording.\n" * 5).encode(), r"run backwards in [345]\d% of the"),
    ],
    ids=["random", "random below 200", "text"],
)
def test_random_bytes_and_texts_are_no_atis_recordings(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=rf"^a\.bin .*{message}.*no ATIS file or damaged"):
        decode_recording(content[: len(content) // 5 * 5], ".bin", name="a.bin")


def test_a_few_events_of_an_atis_file_may_come_late_and_are_sorted() -> None:
    recording = made_recording(400)
    rows = np.frombuffer(encode_atis(recording), np.uint8).reshape(-1, 5).copy()
    rows[[10, 11, 100, 300, 301]] = rows[[11, 10, 90, 301, 300]]
    found = decode_recording(rows.tobytes(), ".bin", name="a", size=(34, 34))
    assert len(found) == 400
    assert found.t[10:12].tolist() == recording.t[10:12].tolist()


def test_an_aedat_3_clock_that_has_run_over_goes_on() -> None:
    recording = made_recording(4)
    late = Recording(recording.t + 5 * 2**31, recording.x, recording.y, recording.p, recording.size)
    assert decode_recording(encode_aedat3(late), ".aedat", name="a", size=(34, 34)).is_equal(late)


def test_an_aedat_2_clock_that_has_run_over_goes_on() -> None:
    recording = made_recording(4, size=(128, 128))
    late = Recording(recording.t + 2**32 - 100_000, recording.x, recording.y, recording.p, recording.size)
    assert late.t[0] < 2**32 <= late.t[-1]
    assert decode_recording(encode_aedat2(late), ".aedat", name="a").is_equal(late)


def test_an_event_that_comes_late_is_no_second_run_over_of_an_aedat_2_clock() -> None:
    times = (2**32 - 10, 3, 2**32 - 1, 8)
    content = b"#!AER-DAT2.0\r\n" + b"".join(struct.pack(">II", 0, time) for time in times)
    recording = decode_recording(content, ".aedat", name="a")
    assert (recording.t - recording.t[0]).tolist() == [0, 9, 13, 18]


def test_compressed_packets_of_aedat_3_are_refused_and_not_passed_over() -> None:
    content = encode_aedat3(made_recording(5)) + struct.pack("<Hhiiiiii", 1 | 1 << 15, 1, 8, 4, 0, 5, 5, 5) + bytes(30)
    with pytest.raises(ValueError, match=r"^a\.aedat .*holds compressed packets.*save it uncompressed"):
        decode_recording(content, ".aedat", name="a.aedat")


def test_the_version_of_an_aedat_file_may_follow_other_comments() -> None:
    content = encode_aedat2(made_recording(5, size=(128, 128)))
    assert decode_recording(b"# by me\r\n" + content, ".aedat", name="a").is_equal(
        decode_recording(content, ".aedat", name="a")
    )


def test_aedat_2_of_the_vendor_s_description_is_read_turned_as_documented() -> None:
    made = made_recording(50, size=(128, 128))
    address = (127 - made.y.astype(">u4")) << 8 | made.x.astype(">u4") << 1 | made.p  # from the lower left corner
    content = b"#!AER-DAT2.0\r\n" + np.stack([address, made.t], axis=1).astype(">u4").tobytes()
    read = decode_recording(content, ".aedat", name="a")
    assert recording_of(read.t, 127 - read.y, read.x, 1 - read.p, (128, 128)).is_equal(made)


def test_events_that_aedat_3_marks_as_invalid_are_left_out() -> None:
    content = bytearray(encode_aedat3(made_recording(3), packet=3))
    content[-8] &= 0xFE  # the last event's mark
    assert len(decode_recording(bytes(content), ".aedat", name="a")) == 2


def test_events_of_aedat_3_are_all_read_where_every_one_is_marked_as_invalid() -> None:
    made = made_recording(3)
    content = bytearray(encode_aedat3(made, packet=3))
    for event in (8, 16, 24):
        content[-event] &= 0xFE
    assert decode_recording(bytes(content), ".aedat", name="a", size=made.size).is_equal(made)


def test_events_out_of_order_are_sorted_and_those_of_one_time_keep_theirs() -> None:
    t, x = np.asarray([5, 1, 5, 1]), np.asarray([0, 1, 2, 3])
    recording = recording_of(t, x, x, np.ones(4, bool))
    assert recording.t.tolist() == [1, 1, 5, 5]
    assert recording.x.tolist() == [1, 3, 0, 2]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_cut_anywhere_is_read_or_refused_in_one_line(kind: str) -> None:
    suffix, encode = FORMATS[kind]
    content = encode(made_recording(20, size=(128, 128)))
    parts = [read_or_refuse(content[:length], suffix) for length in range(len(content))]
    read = [part for part in parts if part is not None]  # the cut fell between two events or packets
    assert all(0 < len(part) < 20 for part in read)
    assert len(read) < len(content) / 4


@pytest.mark.parametrize("kind", FORMATS)
def test_random_and_damaged_bytes_are_read_or_refused_in_one_line(kind: str) -> None:
    suffix, encode = FORMATS[kind]
    rng = np.random.default_rng(0)
    whole = encode(made_recording(30, size=(128, 128)))
    for trial in range(300):
        content = bytearray(whole if trial % 3 else rng.bytes(int(rng.integers(1, 400))))
        for place in rng.integers(0, len(content) if trial % 2 else min(len(content), 150), 4):
            content[place] = rng.integers(0, 256)
        recording = read_or_refuse(bytes(content), suffix)
        assert recording is None or recording.size == (128, 128)


def test_an_npz_that_would_unpack_to_gigabytes_is_refused_before_it_does() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in "txyp":
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(header, {"descr": "<i8", "fortran_order": False, "shape": (2**40,)})
            archive.writestr(f"{name}.npy", header.getvalue() + bytes(1000))
    with pytest.raises(ValueError, match=r"big\.npz .*t has 1,099,511,627,776 entries"):
        decode_recording(file.getvalue(), ".npz", name="big.npz")


@pytest.mark.parametrize("kind", ["entries", "header"])
def test_an_npz_whose_header_hides_its_length_is_not_unpacked(kind: str) -> None:
    header, unpacked = io.BytesIO(), 64 * 2**20
    if kind == "entries":
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (-1,)})
    else:
        header.write(np.lib.format.magic(2, 0) + struct.pack("<I", unpacked))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.npy", header.getvalue() + b" " * unpacked)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"t is uint8 \[-1\]|t has a header of 67,108,864 bytes"):
            decode_recording(file.getvalue(), ".npz", name="big.npz")
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


def test_an_npz_with_objects_is_not_unpickled() -> None:
    file = io.BytesIO()
    np.savez(file, **{name: np.asarray([{"a": 1}], dtype=object) for name in "txyp"})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="t is object"):
        decode_recording(file.getvalue(), ".npz", name="a.npz")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.bin", b"", "is empty"),
        ("a.bin", bytes(7), "truncated"),
        ("a.bin", bytes((0, 240, 0, 0, 0)), "holds no events"),
        ("a.aedat", b"RIFF....", "no AEDAT file"),
        ("a.aedat", b"#!AER-DAT4.0\r\n....", "AEDAT 4"),
        ("a.aedat", b"#!AER-DAT5.0\r\n" + bytes(8), r"says version 5; read are 2\.0 and 3\.1"),
        ("a.aedat", b"#!AER-DAT25.0\r\n" + bytes(8), "says version 25"),
        ("a.aedat", b"#junk\r\n# more\n" + bytes(8), r"no line #!AER-DAT2\.0 or #!AER-DAT3\.1"),
        ("a.aedat4", b"#!AER-DAT4.0\r\n....", "AEDAT 4"),
        ("a.aedat", b"#!AER-DAT2.0\r\n" + struct.pack(">II", 1 << 20, 0), "none of a DVS128"),
        ("a.npz", b"PK", "damaged or no .npz"),
        ("a.mat", b"x", "not read from .mat"),
    ],
)
def test_what_is_no_recording_is_refused_with_its_name(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message) as refusal:
        read_recording(tmp_path / name)
    assert name in str(refusal.value)


def test_a_folder_and_a_pipe_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.bin")
    (tmp_path / "b.npz").mkdir()
    for name in ("a.bin", "b.npz"):
        with pytest.raises(ValueError, match=f"{name} is a folder, a pipe or a device"):
            read_recording(tmp_path / name)


def test_an_event_outside_the_sensor_is_refused() -> None:
    content = encode_atis(one_event(0, 127, 3, 1))
    with pytest.raises(ValueError, match=r"a\.bin .*x=127; expected 0 to 33"):
        decode_recording(content, ".bin", name="a.bin", size=(34, 34))


def test_several_recordings_in_one_npz_come_back(tmp_path: Path) -> None:
    recordings = [made_recording(count, seed=count) for count in (5, 1, 9)]
    save_recordings(recordings, tmp_path / "all.npz", labels=[3, 1, 2])
    back = read_recordings(tmp_path / "all.npz")
    assert [a.is_equal(b) for a, b in zip(back, recordings, strict=True)] == [True] * 3
    assert np.load(tmp_path / "all.npz")["labels"].tolist() == [3, 1, 2]
    with pytest.raises(ValueError, match="holds 3 recordings"):
        read_recording(tmp_path / "all.npz")


@pytest.mark.parametrize("suffix", [".npz", ".bin"])
def test_saved_recordings_are_read_back_and_equal_ones_give_equal_bytes(suffix: str, tmp_path: Path) -> None:
    for name in "ab":
        save_recordings([made_recording()], tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    assert read_recording(tmp_path / f"a{suffix}", size=(34, 34)).is_equal(made_recording())


def test_a_folder_of_recordings_is_written_with_labels_in_the_names(tmp_path: Path) -> None:
    save_recordings([made_recording(seed=1), made_recording(seed=2)], tmp_path / "out", labels=[7, 0])
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0000-7.bin", "0001-0.bin"]
    assert read_recording(tmp_path / "out" / "0001-0.bin", size=(34, 34)).is_equal(made_recording(seed=2))


def test_what_a_bin_file_cannot_hold_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    late = one_event(2**23, 0, 0, 1)
    with pytest.raises(ValueError, match=r"write an \.npz file"):
        save_recordings([late], tmp_path / "a.bin")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "count"), [("a.bin", 2), ("a.txt", 1), ("taken", 1)])
def test_a_path_that_cannot_be_written_is_refused_beforehand(name: str, count: int, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    with pytest.raises(ValueError, match=name):
        check_recordings_path(tmp_path / name, count)


def test_gestures_are_cut_from_a_long_recording_that_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = made_recording(500, size=(128, 128))
    path = tmp_path / "user01.aedat"
    path.write_bytes(encode_aedat3(recording))
    files = [RecordingFile(path, start=start, end=start + 100_000, size=(128, 128)) for start in (0, 100_000, 200_000)]
    opened: list[Path] = []
    plain = Path.open

    def counted(path: Path, *args: Any, **settings: Any) -> Any:
        opened.append(path)
        return plain(path, *args, **settings)

    monkeypatch.setattr(Path, "open", counted)
    parts = list(read_all(files))
    assert np.array_equal(np.concatenate([part.t for part in parts]), recording.t)
    assert opened == [path]


def test_the_real_recordings_are_read_as_spikingjelly_reads_them(real_data: Path, tmp_path: Path) -> None:
    archive = real_data / "NMNIST" / "Test.zip"
    if not archive.is_file():
        pytest.skip("no N-MNIST in the data root")
    with zipfile.ZipFile(archive) as packed:
        members = [name for name in packed.namelist() if name.endswith(".bin")][:20]
        packed.extractall(tmp_path, members)
    files = [RecordingFile(archive, member, size=(34, 34)) for member in members]
    for recording, member in zip(read_all(files), members, strict=True):
        theirs = spikingjelly_module("utils").load_ATIS_bin(tmp_path / member)
        assert recording.is_equal(recording_of(**theirs, size=(34, 34)))


def test_the_times_of_a_recording_are_never_further_apart_than_64_bits_hold() -> None:
    t = np.asarray([-(2**62) + 1, 2**62 - 1])
    pixel = np.zeros(2, np.uint8)
    assert recording_of(t, pixel, pixel, pixel).duration == 2**63 - 2
    with pytest.raises(ValueError, match="an event has t="):
        recording_of(np.asarray([-(2**62), 2**62]), pixel, pixel, pixel)


@pytest.mark.parametrize("offsets", [[0, 3, 2, 4], [0, 2**63 - 1, -2, 4], [0, 5, 4], [0]])
def test_recordings_that_do_not_follow_each_other_are_refused(offsets: list[int], tmp_path: Path) -> None:
    each = np.arange(4, dtype=np.int64) % 2
    np.savez(tmp_path / "a.npz", t=each, x=each, y=each, p=each, offsets=np.array(offsets, np.int64))
    with pytest.raises(ValueError, match="its offsets do not rise from 0 to 4"):
        read_recordings(tmp_path / "a.npz")


def test_a_small_file_does_not_hold_millions_of_recordings(tmp_path: Path) -> None:
    each = np.zeros(1, dtype=np.int64)
    offsets = np.zeros(100_000, dtype=np.int64)
    offsets[-1] = 1
    np.savez_compressed(tmp_path / "a.npz", t=each, x=each, y=each, p=each, offsets=offsets)
    with pytest.raises(ValueError, match="99,999 recordings, most of them without an event"):
        read_recordings(tmp_path / "a.npz")
