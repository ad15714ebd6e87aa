"""Compiled loops and the machine code that is kept of them on disk."""

from __future__ import annotations

import importlib.util
import resource
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

PROGRAM = """
from spikevae.ops.cpu.compile import compiled
@compiled
def double(x):
    return 2 * x
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a compiled function, whose machine code is kept in the folder ``cache`` beside it."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # a full disk would cut Python's own files short
    path = tmp_path / "program.py"
    path.write_text(PROGRAM)
    return path


def was_kept(program: Path) -> bool:
    """Whether a new process would find the function's machine code on disk; that it computes is checked as well."""
    spec = importlib.util.spec_from_file_location("program", program)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.double(np.arange(3.0)).tolist() == [0, 2, 4]
    return bool(module.double.stats.cache_hits)


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("content", [b"", b"\x80\x04 no code"])
def test_damaged_machine_code_is_made_anew_and_kept(program: Path, kind: str, content: bytes) -> None:
    assert [was_kept(program), was_kept(program)] == [False, True]
    (damaged,) = (program.parent / "cache").rglob(f"*.{kind}")
    damaged.write_bytes(content)
    assert [was_kept(program), was_kept(program)] == [False, True]


def test_a_disk_that_takes_no_machine_code_stops_nothing(program: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        kept = [was_kept(program), was_kept(program)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert kept == [False, False]
