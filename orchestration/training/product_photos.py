"""What the photo recogniser learns from, how it is judged on held-out photos, and what is kept to explain it.

Belongs here: putting `ml` functions together for one home. Does not: the life cycle all share (lifecycle.py).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestration.home.child_process import run_in_child
from orchestration.home.settings import Settings
from orchestration.ingest.landing import open_landing
from orchestration.training.figures import as_png
from orchestration.training.lifecycle import Headline, NothingToLearn, Trained, Training, not_below
from orchestration.warehouse.exports import export_path, read_frame, read_sql

if TYPE_CHECKING:
    import pandas as pd

IMAGE_PIXELS, EPOCHS, FEWEST_PHOTOS, HELD_OUT_EVERY = 64, 32, 50, 5
CHILD_MEMORY_BYTES = 3 * 2**30
MEASURES = {"accuracy": "accuracy", "top5_accuracy": "top-5 accuracy"}
PARAMETERS: Mapping[str, Any] = {"image_pixels": IMAGE_PIXELS, "epochs": EPOCHS}


def train_product_photos(settings: Settings, folder: Path, champion: Path | None, kept: Path | None = None) -> Trained:
    """Train in a process of its own: TensorFlow never gives its memory back."""
    labelled = labelled_photos(settings)
    if len(labelled) < FEWEST_PHOTOS or labelled["label"].nunique() < 2:
        raise NothingToLearn(f"{len(labelled)} labelled photos, {FEWEST_PHOTOS} of two labels are needed to learn from")
    return run_in_child(
        CHILD_MEMORY_BYTES, settings.home / "training.log", _train_recogniser, settings, labelled, folder, kept
    )


def labelled_photos(settings: Settings) -> "pd.DataFrame":
    """Return photo_path (within the landing folder), label and taken_at of every photo that has a label."""
    return read_frame(
        f"""
        select photo_path, label, taken_at
        from {read_sql(export_path(settings, "marts.dim_product_photos"))}
        where label is not null
        order by taken_at nulls first, photo_path
        """
    )


def held_out(labelled: "pd.DataFrame") -> "pd.Series[bool]":
    """Return which photos judge: of a label's photos with a date the latest fifth, of the others every fifth.

    Photos of one visit look alike: a network that has learnt from some of them knows the others already.

    Args:
        labelled: label and taken_at, the earlier photos first.
    """
    is_dated = labelled["taken_at"].notna()
    photos = labelled.groupby([labelled["label"], is_dated])["label"]
    place, size = photos.cumcount(), photos.transform("size")
    is_latest = place >= size - size // HELD_OUT_EVERY
    return is_latest.where(is_dated, place % HELD_OUT_EVERY == HELD_OUT_EVERY - 1)


def _train_recogniser(settings: Settings, labelled: "pd.DataFrame", folder: Path, kept: Path | None) -> Trained:
    import base64

    import pandas as pd

    from ml import images
    from ml.metrics import confusion_figure, confusion_frame, hit_ratio_interval, hits, recognition_metrics

    landing = open_landing(settings)
    photos = pd.Series([landing.read(path) for path in labelled["photo_path"]])
    labels = labelled["label"]
    is_held_out = held_out(labelled)

    def trained_on(rows: "pd.Series[bool]") -> images.Recogniser:
        return images.train(
            photos[rows].tolist(), labels[rows].tolist(), image_size=IMAGE_PIXELS, epochs=EPOCHS, seed=settings.seed
        )

    judged = trained_on(~is_held_out)
    baseline = images.hog_baseline(
        photos[~is_held_out].tolist(), labels[~is_held_out].tolist(), image_size=IMAGE_PIXELS, seed=settings.seed
    )
    unseen, actual = photos[is_held_out].tolist(), labels[is_held_out].tolist()
    said = [(model.probabilities(unseen), model.classes) for model in (judged, baseline)]
    metrics, competitor = (recognition_metrics(actual, *one) for one in said)
    intervals = {
        name: hit_ratio_interval(*(hits(actual, *one, most) for one in said), seed=settings.seed)
        for name, most in (("accuracy", 1), ("top5_accuracy", 5))
    }
    metrics |= {f"hog_linear_{name}": value for name, value in competitor.items()}
    verdict = not_below(metrics, "hog_linear", MEASURES, "held-out photos", intervals)
    confusion = confusion_frame(actual, judged.predict(unseen)["label"].tolist(), judged.classes)
    recogniser = images.Recogniser.load(kept) if kept else trained_on(labels.notna())
    recogniser.save(folder)
    few = photos.iloc[:2].tolist()
    return Trained(
        verdict=verdict,
        metrics=metrics,
        headline=Headline.beside_hardest_competitor("accuracy, more is better", verdict, MEASURES["accuracy"]),
        model_card=(
            f"Recognises {labels.nunique()} labels on shelf photos, trained from scratch on {len(labelled):,} photos."
            "\n\nJudged on photos that the judged network had not seen: of a label's photos with a date the latest of"
            f" {HELD_OUT_EVERY} parts, of the others every {HELD_OUT_EVERY}th; then refitted on all. A photo whose best"
            " probability is too low is called unknown."
        ),
        input_example=pd.DataFrame({"image_base64": [base64.b64encode(photo).decode() for photo in few]}),
        output_example=recogniser.predict(few),
        figures={"confusion": as_png(confusion_figure(confusion))},
        tables={"confusion": confusion.reset_index()},
        is_kept=kept is not None,
    )


PRODUCT_PHOTOS = Training(
    model="product_photos",
    code=("ml/images", "orchestration/training/product_photos.py"),
    judge=("ml/schema.py", "ml/metrics"),
    libraries=("tensorflow", "numpy"),
    parameters=PARAMETERS,
    fit=train_product_photos,
)
