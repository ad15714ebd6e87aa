"""Processes that run a command of spikevae, forked from one that has imported it: that takes longer than they do."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from spikevae.cli import main


def start(words: Sequence[str | Path], output: Path, environment: Mapping[str, str], *, threads: int) -> BaseProcess:
    """Run ``spikevae WORDS`` in a process of its own; what it prints goes to a file."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["spikevae.cli", "spikevae.training.loop", "spikevae.evaluation.command"])
    process = context.Process(target=_run, args=([*map(str, words)], output, dict(environment), threads))
    process.start()
    return process


def _run(words: list[str], output: Path, environment: dict[str, str], threads: int) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore Ctrl-C
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # and nohup a closed terminal
    os.environ |= environment
    torch.set_num_threads(threads)
    with output.open("w", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        main(words)
