"""A queue of trainings goes on where it was stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.trainings import run_folder, run_missing
from spikevae.training.run_folder import STATE_NAME


def test_what_has_a_result_is_not_run_again_and_what_has_a_state_goes_on(tmp_path: Path) -> None:
    started: list[tuple[str, bool]] = []

    def run(key: str, folder: Path, is_new: bool) -> dict[str, Any]:
        started.append((key, is_new))
        assert is_new == (not folder.exists())
        folder.mkdir(exist_ok=True)
        if key == "b/0" and is_new:
            (folder / STATE_NAME).touch()
            raise KeyboardInterrupt
        return {"number": len(started)}

    keys = ("a/0", "b/0", "c/0")
    (tmp_path / "out" / "a-0").mkdir(parents=True)  # killed before it saved a state
    with pytest.raises(KeyboardInterrupt):
        run_missing(tmp_path / "out", keys, run)
    results = run_missing(tmp_path / "out", keys, run)
    assert started == [("a/0", True), ("b/0", True), ("b/0", False), ("c/0", True)]
    assert results == {"a/0": {"number": 1}, "b/0": {"number": 3}, "c/0": {"number": 4}}
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == results
    assert run_folder(tmp_path / "out", "b/0") == tmp_path / "out" / "b-0"
