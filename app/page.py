"""Gradio's page, except that a visitor's mistake is always answered by a line."""

from __future__ import annotations

import html
import logging
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction

from spikevae.text import printable

from .boxes import fitted

log = logging.getLogger(__name__)

FAILURE = "Something went wrong here, and it is not your doing. Please try again."
_LONGEST = 600  # characters of a message
_UNTIL_CLOSED = 86_400.0  # seconds: `page.js` closes it at the next action


class Page(gr.Blocks):
    """A page whose every error has words for the visitor, and no trace in the log unless it is ours.

    Gradio answers ``null`` to values of wrong kinds, and prints a trace that holds all of them.
    """

    async def preprocess_data(self, *arguments: Any, **named: Any) -> Any:
        """The values for a function."""
        try:
            return await super().preprocess_data(*arguments, **named)
        except Exception as error:
            words = error.message if isinstance(error, gr.Error) else "A value is of a kind that is not expected here"
            raise shown(words) from None

    async def call_function(
        self,
        block_fn: BlockFunction | int,
        processed_input: list[Any],
        iterator: Any = None,
        requests: Any = None,
        event_id: str | None = None,
        event_data: gr.EventData | None = None,
        *arguments: Any,
        **named: Any,
    ) -> Any:
        """A function of the page, whose ValueError is a visitor's mistake and is shown as it is."""
        fn = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        given = iterator, requests, event_id, event_data
        try:
            if event_data is not None and event_data.target is not None:  # something on the page was used
                processed_input = fitted(fn.inputs, processed_input)
            return await super().call_function(fn, processed_input, *given, *arguments, **named)
        except ValueError as error:
            raise shown(error) from None

    async def process_api(self, *arguments: Any, **named: Any) -> Any:
        """All of a call. Any other error is ours: its trace goes to the log, and an apology to the visitor."""
        try:
            return await super().process_api(*arguments, **named)
        except gr.Error:
            raise
        except Exception:
            log.exception("a request failed")
            raise shown(FAILURE) from None


def shown(words: object) -> gr.Error:
    """A message on the page, which shows markup: none of it is a visitor's."""
    text = html.escape(printable(words, _LONGEST), quote=False)
    return gr.Error(text, duration=_UNTIL_CLOSED, print_exception=False)
