"""Measure every row and print the table: ``python -m benchmarks``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro
from tqdm import tqdm
from tyro.conf import arg

from spikevae.runtime import pick_device, reuse_freed_memory, sleep_while_waiting


def main(
    only: Annotated[tuple[str, ...], arg(metavar="NAME ...")] = (),
    runs: int = 5,
    quick: bool = False,
    out: Path | None = None,
    device: str | None = None,
) -> None:
    """Measure spikevae side by side with alternatives, print the table and write it as JSON.

    Leave the machine to it alone: figures taken beside another program mean nothing.

    Args:
        only: Measure these cases only; nothing is written then unless --out is given.
        runs: Rounds of each measurement, after a warm-up; the median counts.
        quick: Tiny sizes, one round: shows that everything works. Nothing is written unless --out is given.
        out: The JSON file; otherwise results.json in this folder (results-cuda.json and so on off the CPU).
        device: cpu, cuda or mps; otherwise the best that is there.
    """
    import torch

    from benchmarks.cases import CASES, CPU_ONLY
    from benchmarks.measure import Meter, Row, describe_machine, describe_versions
    from benchmarks.report import text_table
    from spikevae.files import write_atomically

    for name in only:
        if name not in CASES:
            sys.exit(f"no case {name!r}; the cases are {', '.join(CASES)}")
    if runs < 1:
        sys.exit(f"--runs {runs}: expected at least 1")
    reuse_freed_memory()
    meter = Meter(pick_device() if device is None else torch.device(device), runs, quick)
    machine = describe_machine(meter.device)
    if machine["load_at_start"] > 0.5 and not quick:
        tqdm.write(f"warning: the machine has other work to do (load {machine['load_at_start']:.1f})", sys.stderr)
    if out is None and not (quick or only):
        suffix = "" if meter.device.type == "cpu" else f"-{meter.device.type}"
        out = Path(__file__).parent / f"results{suffix}.json"
    names = [name for name in only or CASES if meter.device.type == "cpu" or name not in CPU_ONLY]
    rows: list[Row] = []
    record: dict[str, Any] = {"machine": machine, "versions": describe_versions(), "runs": meter.runs, "skipped": {}}
    with tqdm(names, unit="case", dynamic_ncols=True) as bar:
        for name in bar:
            bar.set_description(name)
            try:
                rows += CASES[name](meter)
            except torch.OutOfMemoryError:
                record["skipped"][name] = "the memory is too small for it"
            if meter.device.type != "cpu":
                torch.accelerator.empty_cache()
            record["rows"] = [asdict(row) for row in rows]
            if out is not None:  # after every case, so that an interruption loses one case at most
                text = json.dumps(record, indent=2) + "\n"
                write_atomically(out, partial(Path.write_text, data=text, encoding="utf-8"))
    print(text_table(rows))
    if out is not None:
        print(f"written to {out}")


if __name__ == "__main__":
    sleep_while_waiting()  # before torch is imported
    tyro.cli(main, prog="python -m benchmarks")
