"""A picture to upload, which is not decoded before it is checked."""

from __future__ import annotations

import gradio as gr
from gradio.data_classes import ImageData


class Upload(gr.Image):
    """Gives the file's place among the uploads.

    Gradio's own decodes whatever comes, whatever its size, before any check of ours. Its settings are gr.Image's:
    Gradio reads them off the signature of ``__init__`` to build the page, so there must be no other one.
    """

    is_template = True  # it looks as gr.Image does

    def preprocess(self, payload: ImageData | None) -> str | None:
        """The file, which Gradio has found to be one that was uploaded."""
        return None if payload is None else payload.path
