"""The model card: what a stranger needs to know of a trained model, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from spikevae.classifier_presets import CLASSIFIERS
from spikevae.config import ModelConfig, RunConfig, TrainConfig
from spikevae.hub.card_metadata import ShownScore, card_metadata
from spikevae.hub.checkpoints import CONFIG_NAME, RELEASED, is_known_anywhere, read_dataset_name
from spikevae.hub.pushed import without_place
from spikevae.nn.networks import parameter_count

_NO_SPLIT = "there is no official split: the first 90 % of every class are for training, as the authors of TCJA have it"
_SOURCES = {
    "n-mnist": "N-MNIST, recordings of an event camera (Orchard, Jayawant, Cohen and Thakor, 2015), CC BY-SA 4.0",
    "fashion-mnist": "Fashion-MNIST, Zalando's article images (Xiao, Rasul and Vollgraf, 2017), MIT licence",
    "mnist": "MNIST, handwritten digits (LeCun, Cortes and Burges), CC BY-SA 3.0",
    "cifar10": "CIFAR-10 (Krizhevsky, 2009), no licence stated by its authors",
    "cifar100": "CIFAR-100 (Krizhevsky, 2009), no licence stated by its authors",
    "dvs128-gesture": "DVS128 Gesture, recordings of an event camera (Amir et al., 2017)",
    "cifar10-dvs": f"CIFAR10-DVS, recordings of an event camera (Li et al., 2017); {_NO_SPLIT}",
    "n-caltech101": "N-Caltech101, recordings of an event camera (Orchard, Jayawant, Cohen and Thakor, 2015); "
    f"{_NO_SPLIT}",
    "celeba": "CelebA (Liu, Luo, Wang and Tang, 2015), non-commercial research only; its images may not be passed on",
}
_OF_THE_PAPER = {"dvs128-gesture": (CLASSIFIERS["tcja-dvs128"].model.layers, "about 1.83 million")}
"""By data set, the layers of the network in the paper on TCJA, and its parameters where they are known."""


@dataclass(frozen=True)
class Training:
    """How far a run has come."""

    train_images: int
    """Images in the training part."""
    validation_images: int
    """Images held out of the training split."""
    epoch: int
    """Epochs done."""
    seconds: float
    """Time they took."""
    machine: str
    versions: Mapping[str, str]
    """Of libraries."""
    validation: Mapping[str, float] = field(default_factory=dict)
    """Scores on the held-out images."""


def model_card(
    config: RunConfig,
    training: Training,
    *,
    name: str | None = None,
    scores: Sequence[ShownScore] = (),
    commit: str | None = None,
    note: str | None = None,
) -> str:
    """A model's README.

    Args:
        config: all settings of its run.
        training: how far the run has come, and where.
        name: of a released model; None for the model of a run folder.
        scores: what was measured on the test split.
        commit: of the source that it was trained with.
        note: what to know of its training besides.
    """
    model, settings, dataset = config.model, config.train, config.data.dataset
    command = f"`spikevae train {dataset}" + (f" --preset {name}`" if name else "`, set as `run.json` says")
    versions = ", ".join(f"{library} {version}" for library, version in training.versions.items())
    is_classifier, inputs = model.network == "classifier", "recordings" if model.takes_events else "images"
    lines = [
        f"# {name or 'A model'}: {_kind(model)} of {dataset}",
        "",
        f"{_purpose(model)} {_size(config)} `config.json` and `model.safetensors` are all that `spikevae.load` reads.",
        "",
        *_usage(model, name),
        "## Data",
        "",
        f"{_data(config, training, inputs)} No setting was chosen by the test split.",
        "",
        "## Training",
        "",
        f"{command}, seed {settings.seed}: {training.epoch} of {settings.epochs} epochs"
        f"{'' if is_classifier else f' ({_phases(settings)})'}, batches of {settings.batch_size}, "
        f"{training.seconds / 60:.0f} minutes on {training.machine}. {_before(config, name)}"
        f"Released are the weights' moving averages. {_exemplars(model)}Versions: {versions}."
        + (f" Commit: {commit}." if commit else "")
        + (f" {note}" if note else ""),
        "",
    ]
    held_out = ", ".join(f"{key.replace('_', ' ')} {value:.4f}" for key, value in training.validation.items())
    lines += [
        *([f"On the held-out {inputs}: {held_out}.", ""] if held_out else []),
        *_score_table(scores),
        "## Use and limits",
        "",
        "For research, teaching and demonstration. "
        f"The model knows nothing but {inputs} like those of its training data"
        + (": light on dark, centred, without background" if dataset in ("fashion-mnist", "mnist") else "")
        + f". {'The' if is_classifier else 'What it draws and the'} class that it names "
        f"{'is' if is_classifier else 'are'} not to be relied on for any decision about a person. "
        "Energy figures count operations by the field's convention; nothing was measured on neuromorphic hardware.",
    ]
    return card_metadata(dataset, model, name=name, scores=scores) + "\n".join(lines) + "\n"


def _data(config: RunConfig, training: Training, inputs: str) -> str:
    """What it learned from, and what was held out."""
    data = config.data
    source = _SOURCES.get(data.dataset, f"{data.dataset}, {_kind_of_own(config)}")
    also = f", among them those of {without_place(data.also)}" if data.also else ""
    split = " of the training split" if data.validation_share else ""
    return (
        f"{source}. {training.train_images:,} training {inputs}{also}; {training.validation_images:,} more{split} were "
        "held out for choosing settings."
    )


def _before(config: RunConfig, name: str | None) -> str:
    """What the run took from models that were trained before it."""
    settings, weights, is_classifier = config.train, config.objective, config.model.network == "classifier"
    said = []
    if settings.start_from:
        is_own = settings.start_from == name
        began = "the model that had this name before" if is_own else _public_name(settings.start_from)
        terms = "" if is_own else _terms_of(settings.start_from)
        said.append(f"It began with the weights of {began}{terms}. ")
    if settings.teacher:
        teacher = _public_name(settings.teacher)
        learns_classes = config.model.classes and (is_classifier or settings.adversarial_epochs < settings.epochs)
        is_judged = not is_classifier and weights.perceptual_weight
        judged = "reconstructions were compared with their originals"
        if learns_classes and weights.teacher_weight:
            also = f", in whose feature maps its {judged}" if is_judged else ""
            said.append(f"It learned the class probabilities of {teacher} besides the labels{also}. ")
        elif is_judged:
            said.append(f"Its {judged} in the feature maps of {teacher}. ")
    return "".join(said)


def _terms_of(model: str) -> str:
    """What holds on of the data that a bundled model learned from, as half a sentence; nothing of other models."""
    if not (RELEASED / model / CONFIG_NAME).is_file():
        return ""
    source = _SOURCES.get(read_dataset_name(model))
    return f", whose data's terms hold on: {source}" if source else ""


def _kind_of_own(config: RunConfig) -> str:
    """What data are that nobody published."""
    if config.data.dataset.startswith("sim-"):
        return "recordings by this package's simulated camera"
    return "recordings of one's own" if config.model.takes_events else "images of one's own"


def _exemplars(model: ModelConfig) -> str:
    """What the density keeps of single images."""
    if not model.prior_exemplars or model.latent != "grid":
        return ""
    whose = " of each class" if model.classes else ""
    return (
        f"The density of its latent spikes keeps the codes of up to {model.prior_exemplars:,} training images{whose}. "
        f"A new image begins at one of them and differs from it (bandwidth {model.prior_bandwidth:g}). "
    )


def _public_name(model: str) -> str:
    """A model as others know it: not by a folder of this machine."""
    return model if is_known_anywhere(model) else "another model"


def _score_table(scores: Sequence[ShownScore]) -> list[str]:
    """The lines of the chapter on scores; none without scores."""
    if not scores:
        return []
    return [
        "## Scores on the test split",
        "",
        "| metric | value |",
        "| --- | --- |",
        *(f"| {score.name} | {score.value} |" for score in scores),
        "",
        "How each was computed, and the command that does it again: `scores.json`.",
        "",
    ]


def _kind(model: ModelConfig) -> str:
    """What sort of network it is."""
    spiking = "ordinary" if model.neuron == "relu" else "spiking"
    return f"{spiking} {'classifier' if model.network == 'classifier' else 'VAE'}"


def _purpose(model: ModelConfig) -> str:
    """What the model does, with what parts."""
    size = "x".join(map(str, (model.image_channels, *model.frame_size)))
    spikes = "without spikes" if model.neuron == "relu" else f"with spikes in T = {model.time_steps} time steps"
    parts = f"attention: {model.attention}; neurons: {model.neuron}"
    if model.network == "classifier":
        inputs = f"event recordings, cut into frames of {size}" if model.takes_events else f"{size} images"
        return f"Names the class of {inputs} {spikes} (layers: {model.layers}; {parts}). It has no decoder."
    verbs = "Generates, reconstructs and classifies" if model.classes else "Generates and reconstructs"
    latent = f"latent: {model.latent}, {model.time_steps} x {model.latent_size} bits"
    outputs = f"event recordings, in frames of {size}" if model.takes_events else f"{size} images"
    return f"{verbs} {outputs} {spikes} ({parts}; {latent})."


def _size(config: RunConfig) -> str:
    """How many parameters it has, beside those of the paper's network."""
    layers, papers = _OF_THE_PAPER.get(config.data.dataset, ("", ""))
    beside = f"; the paper's network has {papers}" if layers and layers == config.model.layers else ""
    return f"It has {parameter_count(config.model):,} parameters{beside}."


def _usage(model: ModelConfig, name: str | None) -> list[str]:
    """How to load the model, and what to do with it first."""
    use = "images = model.sample(16, seed=0)  # [16, C, H, W] in [0, 1]"
    if model.network == "classifier":
        shape = "x_seq: event frames [T, N, 2, H, W]" if model.takes_events else "x: [N, C, H, W] in [0, 1]"
        use = f"probabilities = model.classify({shape.partition(':')[0]})  # {shape}"
    elif model.network == "event-vae":
        use = "recordings = model.sample_events(16, seed=0)  # each with t (µs), x, y, p"
    where = f'"{name}"' if name else '"FOLDER"'
    others = "or this folder, or hf:USER/NAME" if name else "the one of this card, or hf:USER/NAME"
    return ["```python", "import spikevae", "", f"model = spikevae.load({where})  # {others}", use, "```", ""]


def _phases(settings: TrainConfig) -> str:
    """How the epochs of an autoencoder are spent."""
    text = f"{settings.epochs - settings.adversarial_epochs} of all parts together"
    if settings.deterministic_epochs:
        text += f", the last {settings.deterministic_epochs} with deterministic latents"
    if settings.adversarial_epochs:
        text += f"; {settings.adversarial_epochs} of adversarial fine-tuning of the decoder"
    return text
