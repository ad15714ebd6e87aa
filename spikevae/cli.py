"""The command line: finds the command that is asked for, and turns its failures into one line and an exit status.

Nothing is imported before it is needed, so that ``spikevae --help`` answers at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from spikevae.runtime import is_main_process, rarely_look_for_cycles, sleep_while_waiting

COMMANDS = {
    "sample": "Draw new images from a model.",
    "reconstruct": "Pass images through a model's latent spikes and back, and measure what is lost.",
    "classify": "Name what is on images, with the classifier that shares the generator's encoder.",
    "evaluate": "Measure a model, or anybody's images, so that another lab can do it again.",
    "train": "Train a model. Interrupt it whenever you like; --resume goes on.",
    "models": "List the models that come with the package, with their measured scores.",
    "demo": "Open a web page to sample, reconstruct, classify and look inside.",
}
"""By name, the first line of each command's own help."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command: exit status 0 done, 1 failed (one line on stderr), 2 wrong usage.

    Set SPIKEVAE_TRACEBACK=1 to see where a failure comes from.
    """
    sleep_while_waiting()
    rarely_look_for_cycles()
    if not is_main_process():
        os.environ["TQDM_DISABLE"] = "1"
    name, *given = list(sys.argv[1:] if arguments is None else arguments) or [""]
    if name not in COMMANDS:
        _explain(name)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        import tyro

        from spikevae.commands import command

        tyro.cli(command(name, given), prog=f"spikevae {name}", args=given)
    except KeyboardInterrupt:
        print("spikevae: stopped", file=sys.stderr)
        sys.exit(130)
    except (ValueError, OSError, RuntimeError) as error:
        if os.environ.get("SPIKEVAE_TRACEBACK"):
            raise
        reason = " ".join(str(error).split())
        print(f"spikevae: {reason}", file=sys.stderr)
        sys.exit(1)


def _explain(word: str) -> NoReturn:
    """Print the help that was asked for, or what is wrong with a word that is no command, and exit."""
    parser = argparse.ArgumentParser(
        prog="spikevae",
        description="Generate, reconstruct and classify images with a spiking variational autoencoder.",
        epilog="`spikevae COMMAND --help` explains every option.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, summary in COMMANDS.items():
        commands.add_parser(name, help=summary, add_help=False)
    parser.parse_args([word] if word else [])
    parser.error(f"give a command: {', '.join(COMMANDS)}")


if __name__ == "__main__":
    main()
