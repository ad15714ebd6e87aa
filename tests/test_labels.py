"""A class is found by its name or its number, of whatever type that is."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
import torch

from spikevae.config import FASHION_MNIST_CLASSES
from spikevae.labels import OtherClassesError, are_read_alike, class_index, class_indices, class_numbers


@pytest.mark.parametrize(
    "label",
    [9, "9", " 9 ", "ankle boot", "Ankle Boot", "ANKLE BOOT ", np.int64(9), np.uint8(9), np.array(9), torch.tensor(9)],
)
def test_a_name_and_a_number_of_any_type_find_the_class(label: object) -> None:
    assert class_index(label, FASHION_MNIST_CLASSES) == 9


def test_a_text_is_a_name_before_it_is_a_number() -> None:
    assert [class_index(label, ("3", "5", "0")) for label in ("0", "3", "1", 0, 1)] == [2, 0, 1, 0, 1]
    assert class_index("a", ("A", "a")) == 1


@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["café", "CAFÉ", " Café"])
def test_accents_are_one_however_they_are_written(written: str, asked: str) -> None:
    names = ("tea", unicodedata.normalize(written, "café"))  # type: ignore[arg-type]
    for form in ("NFC", "NFD"):
        assert class_index(unicodedata.normalize(form, asked), names) == 1
        assert class_numbers((unicodedata.normalize(form, "café"), "tea"), names, "own") == [1, 0]


@pytest.mark.parametrize("asked", [" lead", "lead", "Lead "])
def test_spaces_around_a_name_do_not_count(asked: str) -> None:
    assert class_index(asked, ("tin", " lead")) == 1
    assert class_index("lead", (" lead", "lead")) == 1  # but for names that differ in nothing else


@pytest.mark.parametrize("names", [("CAT", "dog", "cat"), ("Cat", "dog", "Cat")])
def test_a_name_of_several_classes_is_not_guessed(names: tuple[str, ...]) -> None:
    asked = "Cat"
    with pytest.raises(ValueError, match=r"label=Cat: several classes are called so, 0 C.. and 2 .*give the number"):
        class_index(asked, names)
    assert [class_index(label, names) for label in ("dog", "2", 2)] == [1, 2, 2]


@pytest.mark.parametrize(
    "label",
    [
        10,
        -1,
        "10",
        "9" * 5000,
        "-1",
        "boot",
        "",
        1.0,
        None,
        np.float64(1),
        torch.tensor(1.0),
        torch.tensor([1, 2]),
        [1],
    ],
)
def test_what_is_no_class_is_met_with_those_that_there_are(label: object) -> None:
    with pytest.raises(ValueError, match=r"label=.*classes are 0 t-shirt, 1 trouser, .* 9 ankle boot") as caught:
        class_index(label, FASHION_MNIST_CLASSES)
    assert "\n" not in str(caught.value)


def test_a_float_for_all_images_is_no_class() -> None:
    with pytest.raises(ValueError, match=r"label=3\.0: this model's classes are"):
        class_indices(3.0, 2, FASHION_MNIST_CLASSES)


def test_a_model_without_classes_and_one_with_many_say_so() -> None:
    with pytest.raises(ValueError, match="trained without labels"):
        class_index(0, ())
    with pytest.raises(ValueError, match="19 c19 and 980 more"):
        class_index("x", [f"c{number}" for number in range(1000)])


def test_names_from_strangers_cannot_write_to_a_terminal() -> None:
    with pytest.raises(ValueError, match="0 ") as caught:
        class_index("\x1b[2J", ("\x1b]0;taken\x07", "b" * 1000))
    assert "\x1b" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_classes_of_data_are_found_by_name_in_any_order() -> None:
    known = ("boot", "bag", "shirt")
    assert class_numbers(("shirt", "boot", "bag"), known, "own") == [2, 0, 1]
    assert class_numbers(("shirt", "boot"), known, "own", may_lack=True) == [2, 0]
    assert class_numbers(("a", "a"), ("a", "a"), "own") == [0, 1]


@pytest.mark.parametrize(
    ("found", "known", "message"),
    [
        (
            ("boot", "coat"),
            ("boot", "bag"),
            "own has the classes coat, which the model does not know; it knows boot",
        ),
        (("boot",), ("boot", "bag"), "the model knows 2 classes and own has 1"),
        ((), ("boot", "bag"), "the model knows 2 classes and own has 0"),
        (("bag", "bag"), ("boot", "bag"), "two classes of own, or of the model, are called bag"),
        (("boot", "bag", "bag"), ("bag", "boot", "bag"), "two classes of own, or of the model, are called bag"),
    ],
)
def test_classes_that_cannot_be_told_by_name_are_refused(
    found: tuple[str, ...], known: tuple[str, ...], message: str
) -> None:
    with pytest.raises(OtherClassesError, match=message):
        class_numbers(found, known, "own")


def test_names_are_read_alike_however_accents_are_written_and_in_the_same_order() -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    assert are_read_alike((composed, "tea"), [decomposed, "tea"])
    assert not are_read_alike((composed, "tea"), ("tea", decomposed))
    assert not are_read_alike((composed,), (composed, "tea"))
    assert not are_read_alike(("Tea",), ("tea",))
