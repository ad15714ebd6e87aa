"""Names of the classes of data sets."""

from __future__ import annotations

FASHION_MNIST_CLASSES = (
    "t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
MNIST_CLASSES = tuple(str(digit) for digit in range(10))
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR100_CLASSES = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish",
    "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
    "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange",
    "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine",
    "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
    "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
    "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
    "willow_tree", "wolf", "woman", "worm",
)  # fmt: skip
DVS128_CLASSES = (
    "hand clapping", "right hand wave", "left hand wave", "right arm clockwise", "right arm counter-clockwise",
    "left arm clockwise", "left arm counter-clockwise", "arm roll", "air drums", "air guitar", "other gestures",
)  # fmt: skip
GESTURE_CLASSES = (
    "left", "right", "up", "down", "clockwise", "counter-clockwise", "nearer", "farther", "to and fro",
    "twice and stop",
)  # fmt: skip
CLASS_NAMES = {
    "fashion-mnist": FASHION_MNIST_CLASSES,
    "mnist": MNIST_CLASSES,
    "cifar10": CIFAR10_CLASSES,
    "cifar100": CIFAR100_CLASSES,
    "n-mnist": MNIST_CLASSES,
    "sim-n-mnist": MNIST_CLASSES,
    "dvs128-gesture": DVS128_CLASSES,
    "cifar10-dvs": CIFAR10_CLASSES,
    "sim-gestures": GESTURE_CLASSES,
    "sim-shapes": GESTURE_CLASSES,
}
"""Of each labelled data set; `spikevae.data.register` adds to them. Those of a folder are its subfolders."""

EVENT_DATASET_NAMES = (
    "n-mnist", "dvs128-gesture", "cifar10-dvs", "n-caltech101", "sim-n-mnist", "sim-gestures", "sim-shapes",
)  # fmt: skip
"""Data sets of event cameras; a folder of recordings is ``events:FOLDER``."""
