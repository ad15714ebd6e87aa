"""The command line: finds the command that is asked for, and turns its failures into one line and an exit status.

Nothing is imported before it is needed, so that ``spikevae --help`` answers at once.
"""

from __future__ import annotations

import argparse
import inspect
import os
import shutil
import sys
from collections.abc import Sequence
from typing import NoReturn

from spikevae.console import complain, finish_output, log_to_stderr, mute, prepare_streams, say
from spikevae.runtime import is_main_process, rarely_look_for_cycles, share_cores, sleep_while_waiting

COMMANDS = {
    "sample": "Draw new images, or event recordings, from a model.",
    "reconstruct": "Pass images or recordings through a model's latent spikes and back, and measure what is lost.",
    "inpaint": "Fill in a hidden part of a picture, in several ways.",
    "classify": "Name what is on images or event recordings, with a model's classifier.",
    "evaluate": "Measure a model or a folder of images, and record everything needed to repeat it.",
    "train": "Train a model. Interrupt it whenever you like; --resume goes on.",
    "models": "List the models that come with the package, with their measured scores.",
    "export": "Write a part of a model for another runtime.",
    "push": "Share a model on the Hugging Face hub.",
    "demo": "Open a web page to sample, reconstruct, classify and look inside.",
}
"""By name, the first line of each command's own help."""
_NARROWEST = 20  # columns; in fewer than ten, tyro never comes to the end of a help


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command: exit status 0 done, 1 failed (one line on stderr), 2 wrong usage.

    Set SPIKEVAE_TRACEBACK=1 to see where a failure comes from.
    """
    prepare_streams()
    sleep_while_waiting()
    share_cores()
    rarely_look_for_cycles()
    if not is_main_process():
        os.environ["TQDM_DISABLE"] = "1"
    name, *given = list(sys.argv[1:] if arguments is None else arguments) or [""]
    try:
        try:
            if name in COMMANDS:
                _run(name, given)
            elif name == "--version":
                _say_versions()
            else:
                _explain(name)
        finally:
            finish_output()
    except KeyboardInterrupt:
        complain("stopped")
        sys.exit(130)
    except BrokenPipeError:  # nobody reads on, as after `| head`
        mute(sys.stdout.fileno())
    except Exception as error:
        if os.environ.get("SPIKEVAE_TRACEBACK"):
            raise
        complain(_reason(error))
        sys.exit(1)


def _run(name: str, arguments: Sequence[str]) -> None:
    log_to_stderr()
    if shutil.get_terminal_size().columns < _NARROWEST:
        os.environ["COLUMNS"] = str(_NARROWEST)

    import tyro

    from spikevae.commands import command
    from spikevae.options import REGISTRY

    called = command(name, arguments)
    words, _, _ = (inspect.getdoc(called) or "").partition("\n\nArgs:")  # with the examples, which tyro leaves out
    tyro.cli(called, prog=f"spikevae {name}", description=words, args=arguments, registry=REGISTRY)


def _reason(error: Exception) -> str:
    """What an error means, in a line."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{os.fspath(error.filename)}: {error.strerror}"
    if isinstance(error, ValueError | OSError | RuntimeError | ImportError):
        return str(error)
    if isinstance(error, MemoryError):
        return "there is not enough memory; ask for fewer or smaller images"
    return f"{type(error).__name__}: {error} (a fault of spikevae; SPIKEVAE_TRACEBACK=1 shows where)"


def _say_versions() -> None:
    """Print what a report of a fault needs."""
    import platform
    from importlib.metadata import version

    import torch

    from spikevae import __version__
    from spikevae.runtime import machine, pick_device

    versions = f"torch {torch.__version__}, spikingjelly {version('spikingjelly')}, Python {platform.python_version()}"
    say(f"spikevae {__version__} ({versions}; {pick_device()}: {machine()})")


def _explain(word: str) -> NoReturn:
    """Print the help that was asked for, or what is wrong with a word that is no command, and exit."""
    parser = argparse.ArgumentParser(
        prog="spikevae",
        description="Generate, reconstruct and classify images with a spiking variational autoencoder.",
        epilog="`spikevae COMMAND --help` explains every option.",
    )
    parser.add_argument("--version", action="store_true", help="versions of spikevae and its libraries, and the device")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, summary in COMMANDS.items():
        commands.add_parser(name, help=summary, add_help=False)
    parser.parse_args([word] if word else [])
    parser.error(f"give a command: {', '.join(COMMANDS)}")


if __name__ == "__main__":
    main()
