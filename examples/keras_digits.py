"""Train a small network on scikit-learn's handwritten digits and see what it took.

Run it with ``python examples/keras_digits.py``; needs ``trainwatt[keras]``, scikit-learn, and the backend that the
environment's ``KERAS_BACKEND`` names: TensorFlow, PyTorch or JAX.
"""

from __future__ import annotations

import keras
from keras import layers
from keras.callbacks import CSVLogger
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from trainwatt_keras import FootprintMonitor


def classifier() -> keras.Model:
    """Two convolutions and a dense layer."""
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    return model


def main(epochs: int = 10) -> FootprintMonitor:
    """Train, predict, and return the monitor."""
    keras.utils.set_random_seed(0)
    digits = load_digits()
    images = digits.images[..., None].astype("float32") / 16
    x, x_val, y, y_val = train_test_split(images, digits.target, test_size=0.2, random_state=0)
    model, monitor = classifier(), FootprintMonitor()
    callbacks = [CSVLogger("digits.csv"), monitor]
    history = model.fit(x, y, epochs=epochs, validation_data=(x_val, y_val), verbose=2, callbacks=callbacks).history
    inference = FootprintMonitor(output_dir=None, verbose=False)
    model.predict(x_val, batch_size=128, verbose=0, callbacks=[inference])
    print("joules to read a digit", round(inference.summary["total_j"] / len(x_val), 6))
    print("val_acc", round(history["val_accuracy"][-1], 3))
    return monitor


if __name__ == "__main__":
    main()
