"""What options of commands share: the types of those that several have, and how one is shown that may be left out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args

from tyro.conf import arg
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    UnsupportedTypeAnnotationError,
)

from spikevae.config import own_place

Model = Annotated[
    str, arg(metavar="MODEL", help="A bundled model's name (see `spikevae models`), a folder of one, or hf:USER/NAME.")
]
Device = Annotated[str | None, arg(metavar="DEVICE", help="cpu, cuda or mps; otherwise the best that is there.")]
DataRoot = Annotated[
    str | None,
    arg(metavar="FOLDER", help="Where the data sets are; otherwise $SPIKEVAE_DATA, otherwise the user's cache folder."),
]
Data = Annotated[
    str | None,
    arg(
        metavar="NAME", help="fashion-mnist, mnist, cifar10, celeba, n-mnist …, or folder:PATH for a folder of images."
    ),
]
Images = Annotated[tuple[Path, ...], arg(metavar="[IMAGE ...]")]


def check_data_root(root: str | None, dataset: str) -> None:
    """Refuse ``--data-root`` for a folder of one's own, in which it has no part.

    Raises:
        ValueError: if both are given.
    """
    if root is not None and own_place(dataset) is not None:
        raise ValueError(f"--data-root {root}: {dataset} lies where its path says; leave it out")


REGISTRY = ConstructorRegistry()
"""With it, ``--size INT`` is what tyro calls ``--size {None}|INT``; the word None still means that nothing is given."""


@REGISTRY.primitive_rule
def _path(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Path] | None:
    if info.type is not Path:
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="PATH",
        instance_from_str=lambda words: _typed_path(words[0]),
        is_instance=lambda value: isinstance(value, Path),
        str_from_instance=lambda value: [str(value)],
    )


def _typed_path(word: str) -> Path:
    """A path as it is typed; ``~/`` is the user's home, which no shell sees in ``--out=~/a.png``."""
    path = Path(word)
    return path.expanduser() if path.parts[:1] == ("~",) else path


@REGISTRY.primitive_rule
def _optional(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | UnsupportedTypeAnnotationError | None:
    kinds = get_args(info.type)
    if info.type_origin not in (Union, UnionType) or len(kinds) != 2 or NoneType not in kinds:
        return None
    kind = next(kind for kind in kinds if kind is not NoneType)
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(kind, info.markers))
    if isinstance(spec, UnsupportedTypeAnnotationError):
        return spec

    return dataclasses.replace(
        spec,
        instance_from_str=lambda words: None if words == ["None"] else spec.instance_from_str(words),
        is_instance=lambda value: value is None or spec.is_instance(value),
        str_from_instance=lambda value: ["None"] if value is None else spec.str_from_instance(value),
        choices=None if spec.choices is None else (*spec.choices, "None"),
    )
