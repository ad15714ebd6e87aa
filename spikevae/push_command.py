"""The command that shares a model on the Hugging Face hub."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg

from spikevae.console import say
from spikevae.options import Model


def push(
    model: Positional[Model],
    repository: Positional[Annotated[str, arg(metavar="USER/NAME", help="Where it goes; made if it is not there.")]],
    *,
    private: bool = False,
    message: str = "Add a model of spikevae",
) -> None:
    """Share a model on the Hugging Face hub.

    Examples:
        spikevae push runs/mine somebody/my-pictures
        spikevae sample hf:somebody/my-pictures --out samples.png

    Args:
        private: Let nobody else see a new repository.
        message: What the commit says.
    """
    from spikevae.hub.remote import push as upload

    address = upload(model, repository, private=private, message=message)
    say(f"pushed: {address}\nothers load it with: spikevae sample hf:{repository} --out samples.png")
