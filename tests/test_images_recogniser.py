import io
import json
import struct
import zlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ml.images import HogBaseline, Recogniser, decode, hog_baseline, why_unusable
from ml.images import recogniser as images

# Keras 3.15 writes its weights through a TensorFlow class that does not know numpy's copy keyword.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"
)

SIZE = 24
COLOURS = {"kiwi": (110, 140, 40), "lemon": (230, 210, 40), "plum": (90, 30, 90)}


def photo(colour, seed=0, shape=(30, 40), kind="PNG"):
    """A noisy patch of a colour on a grey ground, encoded."""
    rng = np.random.default_rng(seed)
    pixels = np.full((*shape, 3), 128.0)
    height, width = shape
    pixels[height // 5 : -height // 5, width // 5 : -width // 5] = colour
    pixels = np.clip(pixels * rng.uniform(0.8, 1.2) + rng.normal(0, 20, pixels.shape), 0, 255).astype(np.uint8)
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, kind)
    return stored.getvalue()


def photos(each=12, seed=0):
    made = [(photo(colour, seed + 100 * place + count), name)
            for place, (name, colour) in enumerate(COLOURS.items()) for count in range(each)]  # fmt: skip
    return [image for image, _ in made], [label for _, label in made]


def png_header(width, height):
    """A PNG whose header promises a size, with hardly any bytes behind it."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def recogniser():
    return images.train(*photos(), image_size=SIZE, epochs=15, seed=1)


def test_colours_are_told_apart(recogniser):
    unseen, labels = photos(each=5, seed=7_000)
    assert (recogniser.predict(unseen)["label"] == labels).mean() >= 0.9


def test_each_photo_gets_a_row_with_its_likeliest_classes_in_falling_order(recogniser):
    answer = recogniser.predict(photos(each=2, seed=9_000)[0])
    assert list(answer.columns) == ["label", "score", "is_unknown", "top5_labels", "top5_scores"]
    assert len(answer) == 6
    for row in answer.itertuples():
        assert row.top5_labels[0] == row.label
        assert row.top5_scores[0] == row.score
        assert row.top5_scores == sorted(row.top5_scores, reverse=True)
        assert sorted(row.top5_labels) == sorted(COLOURS)
        assert sum(row.top5_scores) == pytest.approx(1.0)


def test_unknown_are_the_photos_below_the_threshold(recogniser):
    answer = recogniser.predict(photos(each=4, seed=9_000)[0])
    assert (answer["is_unknown"] == (answer["score"] < recogniser.unknown_below)).all()
    assert 0 < recogniser.unknown_below < 1


def test_a_photo_is_answered_alike_alone_and_among_others(recogniser):
    several = photos(each=3, seed=9_000)[0]
    together = recogniser.predict(several)["score"]
    alone = pd.concat([recogniser.predict([image]) for image in several], ignore_index=True)["score"]
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_the_mirror_image_of_a_photo_is_answered_alike(recogniser):
    image = photo(COLOURS["kiwi"], 5, shape=(28, 28))
    mirrored = io.BytesIO()
    Image.open(io.BytesIO(image)).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(mirrored, "PNG")
    np.testing.assert_allclose(
        recogniser.probabilities([image]), recogniser.probabilities([mirrored.getvalue()]), atol=1e-4
    )


def test_no_photo_gives_no_row(recogniser):
    assert recogniser.predict([]).empty
    assert recogniser.probabilities([]).shape == (0, 3)


def test_a_saved_recogniser_answers_as_before_and_needs_no_pickle(recogniser, tmp_path):
    recogniser.save(tmp_path / "model")
    assert {path.name for path in (tmp_path / "model").iterdir()} == {"network.keras", "recogniser.json"}
    unseen = photos(each=2, seed=9_000)[0]
    pd.testing.assert_frame_equal(Recogniser.load(tmp_path / "model").predict(unseen), recogniser.predict(unseen))


def test_the_same_seed_trains_the_same_recogniser():
    pictures, labels = photos(each=4)
    first, second = (images.train(pictures, labels, image_size=SIZE, epochs=2, seed=3) for _ in range(2))
    np.testing.assert_allclose(first.probabilities(pictures), second.probabilities(pictures), atol=1e-5)


def test_a_network_that_does_not_fit_its_classes_is_refused(recogniser, tmp_path):
    recogniser.save(tmp_path)
    about = json.loads((tmp_path / "recogniser.json").read_text())
    about["classes"] = about["classes"][:2]
    (tmp_path / "recogniser.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="do not belong together"):
        Recogniser.load(tmp_path)


def test_a_recogniser_of_another_format_is_refused(tmp_path):
    (tmp_path / "recogniser.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        Recogniser.load(tmp_path)


def test_a_recogniser_without_its_network_is_refused(recogniser, tmp_path):
    recogniser.save(tmp_path)
    (tmp_path / "network.keras").unlink()
    with pytest.raises(FileNotFoundError, match=r"network\.keras is missing"):
        Recogniser.load(tmp_path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_photos_of_any_kind_and_shape_become_squares(kind):
    square = decode([photo(COLOURS["lemon"], kind=kind), photo(COLOURS["lemon"], shape=(90, 20), kind=kind)], 18)
    assert square.shape == (2, 18, 18, 3)
    assert square.dtype == np.uint8
    centre = square[:, 7:11, 7:11].mean(axis=(0, 1, 2))
    assert centre[0] > 180
    assert centre[2] < 90


def test_a_photo_is_turned_upright():
    pixels = np.zeros((20, 40, 3), dtype=np.uint8)
    pixels[:, :20] = 255
    stored = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held a quarter turn to the left: the stored left edge is the top
    Image.fromarray(pixels).save(stored, "JPEG", exif=exif)
    upright = decode([stored.getvalue()], 20)[0].astype(float)
    assert upright[:8].mean() > 200
    assert upright[-8:].mean() < 50


def test_grey_and_transparent_photos_are_decoded_too():
    for mode in ("L", "RGBA", "P", "I;16"):
        stored = io.BytesIO()
        Image.new(mode, (10, 10)).save(stored, "PNG")
        assert decode([stored.getvalue()], 8).shape == (1, 8, 8, 3)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (b"", "is empty"),
        (b"%PDF-1.7 no photo", "is no JPEG, PNG or WEBP photo"),
        (b"GIF89a" + bytes(20), "is no JPEG, PNG or WEBP photo"),
        (png_header(20_000, 10_000), "too many pixels"),
        (png_header(10_000, 9_000), r"(10000 x 9000 = 90,000,000|too many) pixels"),
        (png_header(8_000, 7_000), r"8000 x 7000 = 56,000,000 pixels, at most 50,000,000"),
        ("a/path.jpg", "is a str, not the bytes"),
    ],
)
def test_what_is_no_usable_photo_is_named_with_its_reason(image, reason):
    good = photo(COLOURS["kiwi"])
    with pytest.raises(ValueError, match=f"photo 1 .*{reason}"):
        decode([good, image], SIZE)


def test_a_file_that_is_too_long_is_refused_unread():
    long = photo(COLOURS["kiwi"]) + bytes(images.MAX_IMAGE_BYTES)
    assert "bytes, at most" in why_unusable(long)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_torn_photo_is_named(kind):
    whole = photo(COLOURS["kiwi"], kind=kind)
    with pytest.raises(ValueError, match=r"photo 0 (is damaged|has a header|is no)"):
        decode([whole[: len(whole) // 2]], SIZE)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_damaged_photos_are_decoded_or_named_and_nothing_else(kind):
    whole = bytearray(photo(COLOURS["kiwi"], kind=kind))
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(damaged), 6):
            damaged[place] = rng.integers(0, 256)
        try:
            assert decode([bytes(damaged)], 8).shape == (1, 8, 8, 3)
        except ValueError as problem:
            assert str(problem).startswith("photo 0 ")


def test_a_good_photo_is_usable():
    assert why_unusable(photo(COLOURS["kiwi"])) is None


@pytest.mark.parametrize(
    ("labels", "more", "message"),
    [
        (["kiwi"] * 5, {}, "6 photos but 5 labels"),
        (["kiwi"] * 6, {}, r"1 class \(kiwi\)"),
        (["kiwi"] * 5 + ["plum"], {}, "'plum' has one photo"),
        (["kiwi"] * 3 + ["plum"] * 3, {"image_size": 8}, "image_size 8"),
        (["kiwi"] * 3 + ["plum"] * 3, {"epochs": 0}, "epochs 0"),
    ],
)
def test_training_on_unfit_input_is_an_error(labels, more, message):
    with pytest.raises(ValueError, match=message):
        images.train([photo((0, 0, 0))] * 6, labels, **{"image_size": SIZE, "epochs": 1, **more})


def test_the_baseline_tells_stripes_by_their_direction_and_not_by_colour():
    def striped(name, seed):
        rng = np.random.default_rng(seed)
        grid = np.indices((32, 32))[0 if name == "lying" else 1]
        grey = np.where(grid // 3 % 2 == 0, 60, 190) + rng.normal(0, 15, (32, 32))
        stored = io.BytesIO()
        Image.fromarray(np.repeat(np.clip(grey, 0, 255)[..., None], 3, axis=2).astype(np.uint8)).save(stored, "PNG")
        return stored.getvalue()

    names = ["lying", "standing"] * 8
    model = hog_baseline([striped(name, seed) for seed, name in enumerate(names)], names, image_size=32)
    assert isinstance(model, HogBaseline)
    assert model.classes == ["lying", "standing"]
    unseen = model.probabilities([striped(name, 100 + seed) for seed, name in enumerate(names)])
    np.testing.assert_allclose(unseen.sum(axis=1), 1.0)
    assert [model.classes[place] for place in unseen.argmax(axis=1)] == names


def test_the_baseline_needs_whole_cells():
    with pytest.raises(ValueError, match="multiple of 8"):
        hog_baseline([photo((0, 0, 0))] * 4, ["a", "a", "b", "b"], image_size=30)


def test_gradients_are_blind_to_even_brightness():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 120, (2, 32, 32, 3)).astype(np.uint8)
    np.testing.assert_allclose(images._hog(pixels), images._hog(pixels + 100), atol=1e-4)
