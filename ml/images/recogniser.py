"""Which product a photo shows: decoding, a small convolutional network, and its baseline.

Everything between the bytes of a photo and a label belongs here. Where photos lie does not, nor how well labels agree
with a truth (`ml.metrics.classification`).

Photos are taken as encoded bytes (JPEG, PNG, WebP). Their size is read from the header and capped before a pixel is
decoded. No weights are brought in from elsewhere: the network starts from scratch, so it is small and looks at colour
and texture over the whole picture.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_IMAGE_BYTES = 20_000_000
MAX_IMAGE_PIXELS = 50_000_000
FORMATS = ("JPEG", "PNG", "WEBP")

_FORMAT = 1
_BATCH = 32
_HELD_OUT_SHARE = 0.15
# A photo less certain than this share of the rightly recognised held-out photos is called unknown.
_UNKNOWN_SHARE = 0.05


def why_unusable(image: bytes) -> str | None:
    """Say why a photo cannot be used, from its header alone.

    Args:
        image: encoded photo.

    Returns:
        A reason with numbers, or None when the header is that of a photo within the limits. A file that is torn further
        back is found by `decode`.
    """
    if not isinstance(image, bytes | bytearray | memoryview):
        return f"is a {type(image).__name__}, not the bytes of a photo"
    if len(image) == 0:
        return "is empty"
    if len(image) > MAX_IMAGE_BYTES:
        return f"has {len(image):,} bytes, at most {MAX_IMAGE_BYTES:,} are read"
    try:
        with Image.open(io.BytesIO(image), formats=FORMATS) as opened:
            width, height = opened.size
    except UnidentifiedImageError:
        return f"is no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} photo"
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as problem:
        return f"has too many pixels, at most {MAX_IMAGE_PIXELS:,} are decoded ({problem})"
    except (OSError, ValueError, SyntaxError, EOFError) as problem:
        return f"has a header that cannot be read ({problem})"
    if width * height > MAX_IMAGE_PIXELS:
        return f"has {width} x {height} = {width * height:,} pixels, at most {MAX_IMAGE_PIXELS:,} are decoded"
    return None


def decode(images: Sequence[bytes], side: int) -> np.ndarray:
    """Decode photos to squares of one size, upright as the camera meant them.

    Args:
        images: encoded photos.
        side: pixels per side; height and width are scaled apart, so nothing is cut off.

    Returns:
        uint8 [photos, side, side, 3], red, green, blue.

    Raises:
        ValueError: for a photo that is no image, is torn, or is beyond `MAX_IMAGE_BYTES` or `MAX_IMAGE_PIXELS`; names
            its index.
    """
    pixels = np.empty((len(images), side, side, 3), dtype=np.uint8)
    for index, image in enumerate(images):
        reason = why_unusable(image)
        if reason is not None:
            raise ValueError(f"photo {index} {reason}: leave it out or send it smaller")
        try:
            with Image.open(io.BytesIO(image), formats=FORMATS) as opened:
                # A JPEG can be decoded at an eighth of its size: a phone photo costs 10 ms instead of 150 ms.
                opened.draft("RGB", (2 * side, 2 * side))
                upright = ImageOps.exif_transpose(opened).convert("RGB")
                pixels[index] = np.asarray(upright.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0))
        except (OSError, ValueError, SyntaxError, EOFError) as problem:
            raise ValueError(f"photo {index} is damaged ({problem}): leave it out or send it again") from problem
    return pixels


@dataclass(frozen=True)
class Recogniser:
    """A trained recogniser. Build it with `train`, keep it with `save`, read it back with `load`.

    Attributes:
        network: Keras model from uint8 [photos, image_size, image_size, 3] to logits [photos, classes].
        classes: label of each logit.
        image_size: pixels per side that the network sees.
        temperature: divisor of the logits that makes the stated probabilities true on held-out photos.
        unknown_below: a photo whose best probability is lower is called unknown.
    """

    network: Any
    classes: list[str]
    image_size: int
    temperature: float
    unknown_below: float
    _answer: list[Any] = field(default_factory=list, repr=False, compare=False)

    def predict(self, images: Sequence[bytes]) -> pd.DataFrame:
        """Recognise photos.

        Args:
            images: encoded photos.

        Returns:
            One row per photo, in order: label (the likeliest class), score (its probability), is_unknown (too uncertain
            to act on), top5_labels and top5_scores (lists, likeliest first; shorter with fewer than five classes).

        Raises:
            ValueError: as `decode`.
        """
        probabilities = self.probabilities(images)
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
        ranked = np.take_along_axis(probabilities, order, axis=1)
        names = np.asarray(self.classes, dtype=object)
        return pd.DataFrame(
            {
                "label": names[order[:, 0]],
                "score": ranked[:, 0],
                "is_unknown": ranked[:, 0] < self.unknown_below,
                "top5_labels": [names[row].tolist() for row in order],
                "top5_scores": ranked.tolist(),
            }
        )

    def probabilities(self, images: Sequence[bytes]) -> np.ndarray:
        """Return the probability of each class.

        Args:
            images: encoded photos.

        Returns:
            float64 [photos, classes], rows summing to 1, columns as `classes`.

        Raises:
            ValueError: as `decode`.
        """
        logits = [
            _logits(
                self._function(), decode(images[start : start + 256], _stored_side(self.image_size)), self.image_size
            )
            for start in range(0, len(images), 256)
        ]
        if not logits:
            return np.empty((0, len(self.classes)))
        return _softmax(np.concatenate(logits) / self.temperature)

    def save(self, folder: Path | str) -> None:
        """Write the recogniser as network.keras and recogniser.json.

        Args:
            folder: is created; files of the same names are replaced.
        """
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        self.network.save(target / "network.keras")
        about = {
            "format": _FORMAT,
            "classes": self.classes,
            "image_size": self.image_size,
            "temperature": self.temperature,
            "unknown_below": self.unknown_below,
        }
        (target / "recogniser.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path | str) -> Recogniser:
        """Read a recogniser that `save` wrote; no code is taken from the folder (Keras safe mode).

        Args:
            folder: what was given to `save`.

        Raises:
            ValueError: when the folder was written by another format or the network does not fit its classes.
            FileNotFoundError: when a file is missing.
        """
        source = Path(folder)
        about = json.loads((source / "recogniser.json").read_text(encoding="utf-8"))
        if about.get("format") != _FORMAT:
            raise ValueError(
                f"the recogniser in {source} has format {about.get('format')}, this code reads {_FORMAT}: "
                "train it again"
            )
        if not (source / "network.keras").is_file():
            raise FileNotFoundError(
                f"{source / 'network.keras'} is missing: the recogniser is incomplete; train it again"
            )
        _, keras = _tensorflow()
        network = keras.models.load_model(source / "network.keras", compile=False, safe_mode=True)
        expected = (None, about["image_size"], about["image_size"], 3), (None, len(about["classes"]))
        if (tuple(network.input_shape), tuple(network.output_shape)) != expected:
            raise ValueError(
                f"the network in {source} maps {network.input_shape} to {network.output_shape}, recogniser.json says "
                f"{expected[0]} to {expected[1]}: the files do not belong together, train it again"
            )
        return cls(
            network=network,
            classes=list(about["classes"]),
            image_size=int(about["image_size"]),
            temperature=float(about["temperature"]),
            unknown_below=float(about["unknown_below"]),
        )

    def _function(self) -> Any:
        """Return the traced network; one trace serves every batch size."""
        if not self._answer:
            self._answer.append(_traced(self.network, self.image_size))
        return self._answer[0]


def train(
    images: Sequence[bytes], labels: Sequence[str], *, image_size: int = 64, epochs: int = 40, seed: int = 0
) -> Recogniser:
    """Train a recogniser from scratch.

    Rare classes weigh as much as common ones. A seeded 15 % of each class is kept out of training; on it the
    temperature is fitted (Guo et al. 2017) and the threshold for unknown photos set.

    Args:
        images: encoded photos.
        labels: class of each photo; at least two classes, two photos each.
        image_size: pixels per side that the network sees, 24 or more.
        epochs: passes over the photos; about 40 for some thirty photos a class.
        seed: fixes the held-out photos, the weights and the augmentation.

    Returns:
        The recogniser.

    Raises:
        ValueError: as `decode`; when numbers of photos and labels differ, a class has one photo, there is one class
            only, or a parameter is out of range.
    """
    classes, target = _checked(images, labels)
    if image_size < 24:
        raise ValueError(f"image_size {image_size} is too small for the network: give 24 or more")
    if epochs < 1:
        raise ValueError(f"epochs {epochs} is not a number of passes: give 1 or more")
    rng = np.random.default_rng(seed)
    held_out = _held_out(target, rng)
    pixels = decode(images, _stored_side(image_size))
    network = _network(image_size, len(classes), seed)
    _fit(network, pixels[~held_out], target[~held_out], image_size, len(classes), epochs, rng)
    logits = _logits(_traced(network, image_size), pixels[held_out], image_size)
    temperature = _fitted_temperature(logits, target[held_out])
    sure = _softmax(logits / temperature)
    right = sure.argmax(axis=1) == target[held_out]
    threshold = float(np.quantile(sure.max(axis=1)[right], _UNKNOWN_SHARE)) if right.any() else 1.0 / len(classes)
    return Recogniser(
        network=network, classes=classes, image_size=image_size, temperature=temperature, unknown_below=threshold
    )


@dataclass(frozen=True)
class HogBaseline:
    """Histograms of oriented gradients under a linear classifier.

    Attributes:
        classes: label of each column of `probabilities`.
        image_size: pixels per side.
        model: fitted scikit-learn classifier.
    """

    classes: list[str]
    image_size: int
    model: Any

    def probabilities(self, images: Sequence[bytes]) -> np.ndarray:
        """Return the probability of each class, float64 [photos, classes].

        Args:
            images: encoded photos.

        Raises:
            ValueError: as `decode`.
        """
        return np.asarray(self.model.predict_proba(_hog(decode(images, self.image_size))), dtype=np.float64)


def hog_baseline(images: Sequence[bytes], labels: Sequence[str], *, image_size: int = 64, seed: int = 0) -> HogBaseline:
    """Train the classical baseline: HOG (Dalal and Triggs 2005) and multinomial logistic regression.

    Args:
        images: encoded photos.
        labels: class of each photo.
        image_size: pixels per side, a multiple of 8.
        seed: seed of the solver.

    Returns:
        The fitted baseline.

    Raises:
        ValueError: as `train`.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    classes, target = _checked(images, labels)
    if image_size < 24 or image_size % 8:
        raise ValueError(f"image_size {image_size} is not a multiple of 8 from 24 on: the cells have 8 pixels a side")
    model = LogisticRegression(C=1.0, max_iter=2000, random_state=seed)
    # The products are small: on a busy machine BLAS threads waited for each other ten times as long as they worked.
    with threadpool_limits(limits=1):
        model.fit(_hog(decode(images, image_size)), target)
    return HogBaseline(classes=classes, image_size=image_size, model=model)


def _checked(images: Sequence[bytes], labels: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Return the classes in order and the class of each photo, after checking the numbers."""
    if len(images) != len(labels):
        raise ValueError(f"{len(images)} photos but {len(labels)} labels: give one label per photo")
    names = [str(label) for label in labels]
    classes, target, counts = np.unique(np.asarray(names, dtype=object), return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise ValueError(f"the labels name {len(classes)} class ({', '.join(classes)}): two or more are needed")
    if counts.min() < 2:
        raise ValueError(f"class {classes[counts.argmin()]!r} has one photo: give at least two, or leave the class out")
    return [str(name) for name in classes], target.astype(np.int64)


def _stored_side(image_size: int) -> int:
    """Return the side at which photos are decoded: training moves a window about in it, prediction takes the middle."""
    return image_size + 2 * round(image_size / 16)


def _held_out(target: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mark 15 % of each class, at least one photo of it and never the last."""
    held_out = np.zeros(len(target), dtype=bool)
    for code in range(int(target.max()) + 1):
        own = rng.permutation(np.flatnonzero(target == code))
        held_out[own[: max(1, round(_HELD_OUT_SHARE * len(own)))]] = True
    return held_out


def _tensorflow() -> tuple[Any, Any]:
    """Import TensorFlow and Keras, quietly unless the environment asks otherwise."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras
    import tensorflow

    return tensorflow, keras


def _network(image_size: int, classes: int, seed: int) -> Any:
    """Build the network: a colour branch beside four convolutions, pooled over the picture.

    The colour branch is a learnt soft histogram: 1x1 convolutions see a pixel's colour and nothing around it, their
    means over the picture say how much of which colour there is.
    """
    _, keras = _tensorflow()
    layers = keras.layers
    seeds = iter(range(seed * 100, seed * 100 + 100))

    def convolution(units: int, size: int, stride: int = 1, bias: bool = False) -> Any:
        return layers.Conv2D(
            units,
            size,
            strides=stride,
            padding="same",
            use_bias=bias,
            kernel_initializer=keras.initializers.HeNormal(seed=next(seeds)),
        )

    def texture_step(features: Any, units: int, size: int = 3, stride: int = 1) -> Any:
        return layers.ReLU()(layers.BatchNormalization(momentum=0.95)(convolution(units, size, stride)(features)))

    picture = keras.Input((image_size, image_size, 3), name="pixels")
    scaled = layers.Rescaling(1 / 127.5, -1.0)(picture)
    colour = layers.AveragePooling2D(4)(scaled)
    colour = layers.ReLU()(convolution(32, 1, bias=True)(colour))
    colour = layers.BatchNormalization(momentum=0.95)(layers.ReLU()(convolution(64, 1, bias=True)(colour)))
    texture = layers.MaxPooling2D(2)(texture_step(scaled, 24, size=5, stride=2))
    texture = layers.MaxPooling2D(2)(texture_step(texture, 48))
    texture = layers.MaxPooling2D(2)(texture_step(texture, 96))
    texture = texture_step(texture, 128)
    pooled = layers.Concatenate()(
        [
            layers.GlobalAveragePooling2D()(colour),
            layers.GlobalAveragePooling2D()(texture),
            layers.GlobalMaxPooling2D()(texture),
        ]
    )
    pooled = layers.Dropout(0.3, seed=next(seeds))(pooled)
    logits = layers.Dense(classes, kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)))(pooled)
    return keras.Model(picture, logits, name="product_photos")


def _fit(
    network: Any,
    pixels: np.ndarray,
    target: np.ndarray,
    image_size: int,
    classes: int,
    epochs: int,
    rng: np.random.Generator,
) -> None:
    """Train the network in place: AdamW, one warm-up, one cosine, smoothed labels, rare classes weighted up."""
    tensorflow, keras = _tensorflow()
    batch_size = int(np.clip(len(pixels) // 16, 4, _BATCH))
    steps = epochs * -(-len(pixels) // batch_size)
    rate = keras.optimizers.schedules.CosineDecay(
        4e-4, steps, alpha=0.01, warmup_target=4e-3, warmup_steps=max(1, steps // 10)
    )
    optimiser = keras.optimizers.AdamW(rate, weight_decay=1e-3)
    optimiser.build(network.trainable_variables)
    loss_of = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.05)
    wanted = np.eye(classes, dtype=np.float32)
    weight = (len(target) / (classes * np.bincount(target, minlength=classes).clip(1))).astype(np.float32)

    @tensorflow.function(  # type: ignore[untyped-decorator]
        input_signature=[
            tensorflow.TensorSpec((None, image_size, image_size, 3), tensorflow.float32),
            tensorflow.TensorSpec((None, classes), tensorflow.float32),
            tensorflow.TensorSpec((None,), tensorflow.float32),
        ]
    )
    def step(batch: Any, truth: Any, importance: Any) -> Any:
        with tensorflow.GradientTape() as tape:
            loss = loss_of(truth, network(batch, training=True), sample_weight=importance)
        gradients = tape.gradient(loss, network.trainable_variables)
        optimiser.apply_gradients(zip(gradients, network.trainable_variables, strict=True))
        return loss

    for _ in range(epochs):
        order = rng.permutation(len(pixels))
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            step(_augmented(pixels[chosen], image_size, rng), wanted[target[chosen]], weight[target[chosen]])


def _augmented(pixels: np.ndarray, image_size: int, rng: np.random.Generator) -> np.ndarray:
    """Return photos moved, enlarged, mirrored and lit differently.

    Colours are changed little: they tell a lemon from a lime.

    Args:
        pixels: uint8 [photos, side, side, 3].
        image_size: pixels per side of what is returned, at most `side`.
        rng: source of the changes.

    Returns:
        float32 [photos, image_size, image_size, 3] in 0 to 255.
    """
    count, side = pixels.shape[:2]
    across = np.arange(image_size)
    # The window seen is 70 to 100 % of the photo's side; the nearest pixel stands for each of its points.
    step = rng.uniform(0.7, 1.0, (count, 1)) * side / image_size
    room = side - step * image_size
    mirrored = np.where(rng.random((count, 1)) < 0.5, across[::-1], across)
    rows = (rng.random((count, 1)) * room + across * step).astype(np.int64)
    columns = (rng.random((count, 1)) * room + mirrored * step).astype(np.int64)
    seen = pixels[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]].astype(np.float32)
    light = rng.normal(0.0, 0.05, (count, 1, 1, 1)) + rng.normal(0.0, 0.025, (count, 1, 1, 3))
    return np.asarray(np.clip(seen * np.exp(light).astype(np.float32), 0.0, 255.0))


def _traced(network: Any, image_size: int) -> Any:
    """Return a function from uint8 pixels to logits, the mean over the photo and its mirror image, traced once."""
    tensorflow, _ = _tensorflow()

    @tensorflow.function(  # type: ignore[untyped-decorator]
        input_signature=[tensorflow.TensorSpec((None, image_size, image_size, 3), tensorflow.uint8)]
    )
    def answer(pixels: Any) -> Any:
        seen = tensorflow.cast(pixels, tensorflow.float32)
        return (network(seen, training=False) + network(seen[:, :, ::-1], training=False)) / 2.0

    return answer


def _logits(answer: Any, pixels: np.ndarray, image_size: int) -> np.ndarray:
    """Return logits of the middle window of decoded photos."""
    edge = (pixels.shape[1] - image_size) // 2
    middle = pixels[:, edge : edge + image_size, edge : edge + image_size]
    parts = [answer(middle[start : start + 64]).numpy() for start in range(0, len(middle), 64)]
    return np.concatenate(parts).astype(np.float64)


def _softmax(logits: np.ndarray) -> np.ndarray:
    """Return probabilities, rows summing to 1."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _fitted_temperature(logits: np.ndarray, target: np.ndarray) -> float:
    """Return the temperature with the lowest log loss, between 0.2 and 5."""
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        own = _softmax(logits / np.exp(log_temperature))[np.arange(len(target)), target]
        return float(-np.log(np.maximum(own, 1e-12)).mean())

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.2), np.log(5.0)), method="bounded").x))


def _hog(pixels: np.ndarray) -> np.ndarray:
    """Return histograms of oriented gradients: 9 directions, cells of 8 pixels, blocks of 2 x 2 cells, L2-Hys at 0.2.

    Args:
        pixels: uint8 [photos, side, side, 3], side a multiple of 8.

    Returns:
        float32 [photos, (side/8 − 1)² · 36].
    """
    cell, directions = 8, 9
    features = []
    for start in range(0, len(pixels), 128):
        grey = pixels[start : start + 128].astype(np.float32).mean(axis=3) / 255.0
        count, side = grey.shape[0], grey.shape[1] // cell
        down, right = np.zeros_like(grey), np.zeros_like(grey)
        down[:, 1:-1] = grey[:, 2:] - grey[:, :-2]
        right[:, :, 1:-1] = grey[:, :, 2:] - grey[:, :, :-2]
        strength = np.hypot(down, right)
        # Each gradient is shared between the two nearest directions; opposite directions are one.
        place = np.mod(np.arctan2(down, right), np.pi) / np.pi * directions - 0.5
        lower = np.floor(place).astype(int)
        upper_share = place - lower
        cells = np.empty((count, side, side, directions), dtype=np.float32)
        for direction in range(directions):
            share = np.where(lower % directions == direction, 1.0 - upper_share, 0.0)
            share += np.where((lower + 1) % directions == direction, upper_share, 0.0)
            cells[..., direction] = (strength * share).reshape(count, side, cell, side, cell).sum(axis=(2, 4))
        blocks = np.concatenate([cells[:, :-1, :-1], cells[:, 1:, :-1], cells[:, :-1, 1:], cells[:, 1:, 1:]], axis=3)
        blocks = np.minimum(blocks / np.sqrt((blocks**2).sum(axis=3, keepdims=True) + 1e-4), 0.2)
        blocks /= np.sqrt((blocks**2).sum(axis=3, keepdims=True) + 1e-4)
        features.append(blocks.reshape(count, -1))
    return np.concatenate(features)
