"""The same training three times: to its end, stopped by patience, and stopped green.

Run it with ``python examples/keras_green.py``; needs ``trainwatt[keras]``, scikit-learn, and the backend that the
environment's ``KERAS_BACKEND`` names: TensorFlow, PyTorch or JAX.
"""

from __future__ import annotations

import keras
from keras import layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from trainwatt_keras import FootprintMonitor, GreenEarlyStopping


def classifier() -> keras.Model:
    """Handwritten digits, by one hidden layer."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((64,)), layers.Dense(64, activation="relu"), layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    return model


def train(epochs: int, *stopping: keras.callbacks.Callback) -> tuple[int, float, float]:
    """Epochs made, joules taken, best accuracy."""
    digits = load_digits()
    x, x_val, y, y_val = train_test_split(digits.data / 16, digits.target, test_size=0.3, random_state=0)
    monitor = FootprintMonitor(output_dir=None, verbose=False)
    history = classifier().fit(
        x, y, batch_size=128, epochs=epochs, validation_data=(x_val, y_val), verbose=0, callbacks=[monitor, *stopping]
    )
    return monitor.summary["epochs"], monitor.summary["total_j"], max(history.history["val_accuracy"])


def main(epochs: int = 60) -> None:
    """Train three times and print what each took and brought."""
    patience = keras.callbacks.EarlyStopping("val_accuracy", mode="max", patience=10, restore_best_weights=True)
    green = GreenEarlyStopping("val_accuracy", mode="max", restore_best_weights=True)
    train(2)  # what the first training of a process compiles is nobody's merit
    print(f"{'':12}{'epochs':>8}{'joules':>8}{'best val_acc':>14}")
    for name, stopping in {"to its end": [], "patience 10": [patience], "green": [green]}.items():
        made, joules, accuracy = train(epochs, *stopping)
        print(f"{name:12}{made:8}{joules:8.1f}{accuracy:14.3f}")


if __name__ == "__main__":
    main()
