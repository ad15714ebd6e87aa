"""Models on the Hugging Face hub: two files are fetched, and read as strictly as local ones; or a folder is pushed."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import (
    CommitOperationAdd,
    HfApi,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (  # type: ignore[attr-defined]  # HTTPError, of the client that it uses
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import disable_progress_bars

from spikevae.hub.checkpoints import (
    CARD_NAME,
    CONFIG_NAME,
    HUB_PREFIX,
    LARGEST_CONFIG,
    LARGEST_WEIGHTS,
    WEIGHTS_NAME,
    load,
    model_folder,
    read_config,
    read_dataset_name,
)
from spikevae.hub.measured import measured_scores
from spikevae.hub.pushed import without_places
from spikevae.text import printable

_PUSHED = (CONFIG_NAME, WEIGHTS_NAME, CARD_NAME)  # and scores: nothing else of a folder leaves the machine


def fetch(name: str, revision: str | None = None) -> Path:
    """Bring a model's config and weights into the hub's cache, and return their folder. Without a network, look there.

    Args:
        name: hf:USER/NAME, or hf:USER/NAME@REVISION.
        revision: a branch, a tag or a commit; otherwise that of the name, otherwise "main".

    Raises:
        ValueError: if the name is none, or the repository holds something else.
        FileNotFoundError: if there is no such repository, revision or model, or no way to it.
    """
    repository, _, named = name.removeprefix(HUB_PREFIX).partition("@")
    revision = revision or named or None
    with _in_one_line(f"{HUB_PREFIX}{repository}", revision):
        config = _download(repository, CONFIG_NAME, revision, LARGEST_CONFIG)
        read_config(config.parent)  # before the weights are fetched
        commit = config.parent.name
        if not isinstance(try_to_load_from_cache(repository, WEIGHTS_NAME, revision=commit), str):
            _download(repository, WEIGHTS_NAME, commit, LARGEST_WEIGHTS)
    return config.parent


def _download(repository: str, file: str, revision: str | None, largest: int) -> Path:
    """A file in the hub's cache, the newest if the hub can be reached, and of no more bytes than ``largest``."""
    if not sys.stderr.isatty():
        disable_progress_bars()
    is_reached = True
    try:
        found = get_hf_file_metadata(hf_hub_url(_checked(repository), file, revision=revision))
        if found.size is None or found.size > largest:
            raise ValueError(f"{file} takes {found.size or 0:,} bytes; one of spikevae takes at most {largest:,}")
    except (HTTPError, OfflineModeIsEnabled) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code < 500:
            raise
        is_reached = False
    return Path(hf_hub_download(repository, file, revision=revision, local_files_only=not is_reached))


def push(
    name_or_folder: str | os.PathLike[str],
    repository: str,
    *,
    private: bool = False,
    message: str = "Add a model of spikevae",
) -> str:
    """Upload a model to the Hugging Face hub: config, weights, card and their scores, nothing else of its folder.

    Of one's own data and of the model's folder the name is sent, and not where they lie.

    Args:
        name_or_folder: of a model that :func:`spikevae.load` takes.
        repository: USER/NAME; it is made if it is not there.
        private: whether a new repository is to be private.
        message: of the commit.

    Returns:
        The address of the commit.

    Raises:
        ValueError, FileNotFoundError: if the folder holds no whole model.
        OSError: if the hub does not take it.
    """
    folder = model_folder(name_or_folder)
    load(name_or_folder)  # nothing is pushed that could not be read back; and it warns of a folder of the same name
    if not (folder / CARD_NAME).is_file():
        raise FileNotFoundError(f"{folder} has no model card: {CARD_NAME} is missing; write one first")
    files = [*(folder / name for name in _PUSHED), *filter(None, [measured_scores(folder)])]
    dataset = read_dataset_name(folder)
    added = [CommitOperationAdd(file.name, without_places(file, dataset)) for file in files]
    with _in_one_line(repository):
        if not sys.stderr.isatty():
            disable_progress_bars()
        api = HfApi()
        api.create_repo(_checked(repository), private=private or None, exist_ok=not private)
        try:
            return str(api.create_commit(repository, added, commit_message=message).commit_url)
        except RuntimeError as error:  # the library's word for an upload that breaks off
            raise (error.__cause__ if isinstance(error.__cause__, HTTPError) else OSError(str(error))) from None


def _checked(repository: str) -> str:
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", repository, re.ASCII):
        raise ValueError("this is no name of a repository; give USER/NAME")
    return repository


@contextmanager
def _in_one_line(repository: str, revision: str | None = None) -> Iterator[None]:
    """Say in one line what the hub's library tells in several, and what to do."""
    place, name = constants.ENDPOINT, printable(repository)
    try:
        yield
    except (GatedRepoError, LocalTokenNotFoundError, RepositoryNotFoundError) as error:
        what = {
            GatedRepoError: f"its owner asks for your consent first: open {place}/{name.removeprefix(HUB_PREFIX)}",
            LocalTokenNotFoundError: "you are not logged in; run `hf auth login`",
        }.get(type(error), "there is no such repository, or it is private and you are not logged in (`hf auth login`)")
        raise FileNotFoundError(f"{name}: {what}") from None
    except RevisionNotFoundError:
        raise FileNotFoundError(f"{name} has no revision {printable(revision or 'main')}") from None
    except OfflineModeIsEnabled:
        raise OSError(f"{name}: nothing is sent while HF_HUB_OFFLINE is set") from None
    except LocalEntryNotFoundError:
        raise FileNotFoundError(
            f"{name} is not in the cache ({constants.HF_HUB_CACHE}), and {place} cannot be reached"
        ) from None
    except EntryNotFoundError:
        raise FileNotFoundError(
            f"{name} holds no model of spikevae: {CONFIG_NAME} or {WEIGHTS_NAME} is missing"
        ) from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        advice = {
            401: "log in with `hf auth login`",
            403: "your token may not write there; use one with the role write",
            404: "is HF_ENDPOINT right?",
            409: "it is there already, and only a new one is made private; leave --private out",
        }.get(status, "try later")
        raise OSError(f"{name}: {place} answers {status} {error.response.reason_phrase}; {advice}") from None
    except HTTPError as error:
        raise OSError(f"{name}: {place} cannot be reached ({printable(error)})") from None
    except ValueError as error:  # also the library's own, of a name
        raise ValueError(f"{name}: {printable(error, 400)}") from None
