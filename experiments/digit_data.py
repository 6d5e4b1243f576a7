"""scikit-learn's handwritten digits and their split."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


def read() -> tuple[np.ndarray, np.ndarray]:
    """The 1,797 scans in [0, 1], row by row, [N, 64], and the digit of each, [N]."""
    images, digits = load_digits(return_X_y=True)
    return np.asarray(images / 16.0, np.float32), np.asarray(digits)


def split(targets: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Splits rows into "train" (72 %), "validation" (8 %) and "test" (20 %), stratified by class."""
    rest, test = train_test_split(np.arange(len(targets)), test_size=0.2, stratify=targets, random_state=seed)
    train, validation = train_test_split(rest, test_size=0.1, stratify=targets[rest], random_state=seed)
    parts = {"train": train, "validation": validation, "test": test}
    return {name: np.asarray(rows) for name, rows in parts.items()}
