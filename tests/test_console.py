"""What is printed: by one process, in any encoding, to anybody or nobody, with nothing that controls a terminal."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator

import pytest

from spikevae.console import Once, OneLine, complain, finish_output, log_to_stderr, prepare_streams, progress, say


@pytest.fixture
def closed_pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Standard output is a pipe that nobody reads."""
    read, write = os.pipe()
    os.close(read)
    with open(write, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        yield


@pytest.mark.usefixtures("closed_pipe")
def test_work_goes_on_when_nobody_reads_what_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        say("x" * 100_000)  # more than is buffered
    say("the rest")
    finish_output()
    assert not capfd.readouterr().err


def test_work_goes_on_when_the_terminal_was_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    window, terminal = os.openpty()
    with open(terminal, "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        os.close(window)
        say("something")
        finish_output()
        complain("of something")
        monkeypatch.undo()


def test_output_that_cannot_be_written_is_an_error_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/full", "w", encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        say("something")
        with pytest.raises(OSError, match="No space"):
            finish_output()


def test_streams_that_were_closed_before_the_start_swallow_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    prepare_streams()
    say("something")
    complain("of something")
    with progress(1, "task", seconds=0.0) as done:
        done(1)
    finish_output()
    sys.stdout.close()
    sys.stderr.close()


@pytest.mark.parametrize("encoding", ["ascii", "cp1251", "cp1252", "utf-8"])
def test_any_text_can_be_printed_in_any_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    prepare_streams()
    say("a 中 ± \udc80")
    finish_output()
    printed = stream.buffer.getvalue().decode(encoding)
    assert printed.startswith("a ")
    assert ("中" in printed) == (encoding == "utf-8")


def test_only_the_main_process_speaks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        say(f"from {rank}")
        with progress(10, f"task {rank}", seconds=0.0) as done:
            done(5)
    printed = capsys.readouterr()
    assert printed.out == "from 0\n"
    assert printed.err == "task 0: 5 of 10 images, about 0 min left\n"


def test_away_from_a_terminal_progress_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    with progress(1000, "sample") as done:
        done(500)
    assert not capsys.readouterr().err  # it took no minute
    with progress(1000, "sample", unit="picture", seconds=0.0) as done:
        for _ in range(2):
            done(500)
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(",")[0] for line in lines] == ["sample: 500 of 1", "sample: 1"]
    assert not any("\r" in line for line in lines)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    with progress(1000, "sample", seconds=0.0) as done:
        done(500)
    assert not capsys.readouterr().err


def test_errors_and_warnings_are_one_line_that_controls_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "a\nb \x1b[2J\x1b]0;taken\x07 " + "c" * 10_000
    complain(hostile)
    record = logging.LogRecord("x", logging.WARNING, "", 0, "%s", (hostile,), None)
    for line in (capsys.readouterr().err.rstrip("\n"), OneLine().format(record)):
        assert line.isprintable()
        assert len(line) < 650


def test_a_warning_of_a_library_is_one_line_that_controls_no_terminal(caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings():  # which puts back what is changed
        warnings.simplefilter("always")
        log_to_stderr()
        warnings.warn("Corrupt EXIF data.\n \x1b[2J got 0.", stacklevel=1)
    assert [OneLine().format(record) for record in caplog.records] == ["Corrupt EXIF data. \\x1b[2J got 0."]


def test_a_warning_is_said_once() -> None:
    records = [logging.LogRecord("x", logging.WARNING, "", 0, text, (), None) for text in ("a", "b", "a")]
    once = Once()
    assert [once.filter(record) for record in records] == [True, True, False]
