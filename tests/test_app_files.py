"""Only what a server wrote itself is read or given away, and never more is kept than fits."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from app import limits
from app.files import Files, Full

BLOCK = 4096  # bytes that the smallest file takes of the disk; the folder that it lies in takes as many


@pytest.fixture
def files(tmp_path: Path) -> Files:
    (tmp_path / "example.png").write_bytes(b"example")
    files = Files(tmp_path)
    files.keep_present()
    return files


def upload(files: Files, content: bytes = b"picture", name: str = "a.png") -> str:
    return files.upload(content, name)


def on_disk(files: Files) -> set[str]:
    return {str(path) for path in files.folder.rglob("*") if path.is_file()}


def test_an_upload_can_be_read_and_fetched(files: Files) -> None:
    path = upload(files)
    assert files.read_upload(path) == b"picture"
    assert files.is_output(path)
    assert upload(files) != path  # nobody finds it by its content


def test_an_example_can_be_read_but_a_picture_made_for_another_visitor_cannot(files: Files) -> None:
    assert files.read_upload(str(files.folder / "example.png")) == b"example"
    made = files.store(b"made", "picture.png")
    assert files.is_output(made)
    with pytest.raises(ValueError, match="not uploaded here"):
        files.read_upload(made)


@pytest.mark.parametrize("name", ["../../etc/cron.d/x.png", "/etc/x.png", "a\x1b[2J.png", "x" * 5000 + ".png", "", "."])
def test_no_name_leads_out_of_the_folder(files: Files, name: str) -> None:
    path = Path(upload(files, name=name))
    assert path.parent.parent == files.folder
    assert path.name in ("upload.png", "upload")


def test_a_path_that_was_not_given_out_is_not_read_however_it_is_written(files: Files, tmp_path: Path) -> None:
    path = upload(files)
    (tmp_path / "there").write_bytes(b"secret")
    name = Path(path).name
    others: list[object] = [
        str(tmp_path / "there"),
        path + "/",
        f"{Path(path).parent}/./{name}",
        name,
        "",
        "/etc/passwd",
        None,
        3,
        [path],
        {},
    ]
    for other in others:
        assert not files.is_input(other)
        with pytest.raises(ValueError, match="not uploaded here"):
            files.read_upload(other)


def test_what_took_the_place_of_an_upload_is_neither_followed_nor_waited_for(files: Files, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    linked, piped = upload(files), upload(files)
    os.unlink(linked)
    os.symlink(secret, linked)
    os.unlink(piped)
    os.mkfifo(piped)
    for path in (linked, piped):
        with pytest.raises(ValueError, match=r"deleted meanwhile|no file with a picture"):
            files.read_upload(path)


def test_the_oldest_files_make_room_for_new_ones(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FOLDER_BYTES", 5 * BLOCK)
    monkeypatch.setattr(limits, "YOUNG_SECONDS", 0)
    first, second = upload(files, bytes(400)), files.store(bytes(401), "picture.png")
    third = upload(files, bytes(402))
    assert not files.is_input(first)
    assert on_disk(files) == {str(files.folder / "example.png"), second, third}
    with pytest.raises(Full):
        upload(files, bytes(4 * BLOCK + 1))
    assert len(on_disk(files)) <= 3


def test_where_all_files_are_new_a_visitor_hears_that_there_is_no_room(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FOLDER_BYTES", 3 * BLOCK)
    first = upload(files, bytes(900))
    with pytest.raises(Full):
        upload(files, bytes(200))
    with pytest.raises(ValueError, match="try again in a minute"):
        files.store(bytes(201), "picture.png")
    assert files.read_upload(first) == bytes(900)
    assert len(on_disk(files)) == 2


def test_small_files_count_for_what_they_take_of_the_disk(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FOLDER_BYTES", 20 * BLOCK)
    monkeypatch.setattr(limits, "YOUNG_SECONDS", 0)
    for _ in range(50):
        upload(files, b"x")
    assert len(on_disk(files)) == 1 + 10  # the example, and ten files in ten folders
    upload(files, bytes(17 * BLOCK + 1))
    assert len(on_disk(files)) == 1 + 1


def test_a_full_disk_is_a_store_without_room(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path, content: bytes) -> int:
        path.touch()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = set(files.folder.rglob("*"))
    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(Full):
        upload(files)
    with pytest.raises(ValueError, match="no room"):
        files.store(b"made", "picture.png")
    assert set(files.folder.rglob("*")) == before


def test_equal_pictures_are_one_file_and_count_once(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FOLDER_BYTES", 4 * BLOCK)
    assert len({files.store(bytes(300), "picture.png") for _ in range(20)}) == 1
    upload(files, bytes(700))


def test_old_files_are_deleted_with_their_folders_and_those_of_the_page_stay(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = upload(files)
    files.delete_old()
    assert files.is_input(path)
    monkeypatch.setattr(limits, "KEEP_SECONDS", -1)
    files.delete_old()
    assert not files.is_output(path)
    assert set(files.folder.rglob("*")) == {files.folder / "example.png"}
