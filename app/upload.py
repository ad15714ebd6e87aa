"""Files to upload, which nothing opens before they are checked."""

from __future__ import annotations

import functools
from typing import Any

import gradio as gr
from gradio.data_classes import FileData, GradioModel, ImageData


class Upload(gr.Image):
    """A picture. Hands on the path that a visitor gives, whatever it is; `app.files` knows which may be read.

    Gradio's own opens and decodes whatever comes before any check of ours. Its settings are gr.Image's: Gradio reads
    them off the signature of ``__init__`` to build the page, so there must be no other one.
    """

    is_template = True  # it looks as gr.Image does
    data_model = None  # type: ignore[assignment]  # so that Gradio hands on what is no picture too, and the answer can be a line

    def api_info(self) -> dict[str, Any]:
        """What programs send, as for gr.Image."""
        return _schema(ImageData)

    def preprocess(self, payload: object) -> Any:
        """The path, if the value has one; another value as it is."""
        return payload.get("path") if isinstance(payload, dict) else payload


class RecordingUpload(gr.File):
    """A recording, handed on as `Upload` does it. Its settings are gr.File's."""

    is_template = True
    data_model = property(lambda self: None, lambda self, model: None)  # gr.File sets one

    def api_info(self) -> dict[str, Any]:
        """What programs send, as for gr.File."""
        return _schema(FileData)

    def preprocess(self, payload: object) -> Any:
        """The path, if the value has one; another value as it is."""
        return payload.get("path") if isinstance(payload, dict) else payload


@functools.cache  # Gradio asks for it for every visitor
def _schema(model: type[GradioModel]) -> dict[str, Any]:
    schema = model.model_json_schema()
    schema["additional_description"] = schema.pop("description", None)
    return schema
