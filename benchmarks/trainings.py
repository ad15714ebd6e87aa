"""A queue of trainings that takes up where it was stopped, for comparisons of whole runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from spikevae.files import write_atomically
from spikevae.training.run_folder import STATE_NAME

RESULTS_NAME = "results.json"


def read_results(out: Path) -> dict[str, dict[str, Any]]:
    """The results in a folder, by the names of their runs; none where there is no such file yet."""
    path = out / RESULTS_NAME
    found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def run_missing(
    out: Path, keys: Iterable[str], run: Callable[[str, Path, bool], dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Run what results.json of a folder lacks, keep each result as soon as it is there, and return all.

    Args:
        out: folder of results.json, and of a folder for each run.
        keys: names of the runs, in their order.
        run: trains and measures one, from its key, its folder, and whether it is new; otherwise it goes on.
    """
    out.mkdir(parents=True, exist_ok=True)
    results = read_results(out)
    for key in keys:
        if key in results:
            continue
        print(key, flush=True)
        folder = run_folder(out, key)
        is_new = not (folder / STATE_NAME).exists()
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        results[key] = run(key, folder, is_new)
        text = json.dumps(results, indent=2) + "\n"
        write_atomically(out / RESULTS_NAME, partial(Path.write_text, data=text, encoding="utf-8"))
    return results


def run_folder(out: Path, key: str) -> Path:
    """Where a run's model and statistics lie: a slash of its key becomes a hyphen."""
    return out / key.replace("/", "-")
