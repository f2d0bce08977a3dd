"""How well photos of groceries are recognised, beside HOG with a linear model; how fast, and how unknowns are told.

    python tests/benchmarks/bench_images.py        kept in tests/benchmarks/results/images.txt

Sample: every fifth photo of a class is held out. They were taken in rows in the same shops, so a second line gives the
validation photos of GroceryStoreDataset, taken elsewhere: a harder and truer test. Unknown photos are of classes
that no recogniser here was taught (from BENCH_DATA, default ../shared/data). Times are processor seconds.
"""

from __future__ import annotations

import os
import platform
import resource
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from ml import images
from ml.metrics.classification import detection_metrics, recognition_metrics

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data" / "sample"
GROCERY = Path(os.environ.get("BENCH_DATA", ROOT.parent / "shared" / "data")) / "grocery"
RESULTS = Path(__file__).parent / "results" / "images.txt"
IMAGE_SIZE, EPOCHS, HELD_OUT_EVERY = 64, 40, 5
Answer = TypeVar("Answer")


def timed(step: Callable[[], Answer]) -> tuple[Answer, float, float]:
    """Return what a step returns, its processor seconds and its seconds on the clock."""
    start, clock = time.process_time(), time.perf_counter()
    answer = step()
    return answer, time.process_time() - start, time.perf_counter() - clock


def sample_photos() -> pd.DataFrame:
    """Return label, bytes and whether the photo is of the validation part."""
    listed = pd.read_csv(SAMPLE / "product_photos" / "product_photos.csv").dropna(subset=["label"])
    return pd.DataFrame(
        {
            "label": listed["label"],
            "image": [(SAMPLE / path).read_bytes() for path in listed["photo_path"]],
            "elsewhere": listed["photo_path"].str.contains("/val/"),
        }
    )


def unknown_photos(known: set[str]) -> list[bytes]:
    """Return photos of classes that are not in the sample."""
    listed = pd.read_csv(GROCERY / "val.csv")
    label = listed["path"].str.split("/").str[-2]
    return [(GROCERY / path).read_bytes() for path in listed["path"][~label.isin(known)]]


def main() -> None:
    """Measure, print and keep."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "scikit-learn", "pillow"))
    lines = [f"python {platform.python_version()}, {packages}, {platform.machine()}, {os.cpu_count()} cores", ""]
    photos = sample_photos()
    here = ~photos["elsewhere"]
    held_out = here & (photos.groupby("label").cumcount() % HELD_OUT_EVERY == HELD_OUT_EVERY - 1)
    taught = here & ~held_out
    known, labels = photos["image"][taught].tolist(), photos["label"][taught].tolist()
    network = {"image_size": IMAGE_SIZE, "epochs": EPOCHS, "seed": 0}
    recogniser, training, clock = timed(lambda: images.train(known, labels, **network))
    baseline, hog_training, _ = timed(lambda: images.hog_baseline(known, labels, image_size=IMAGE_SIZE))
    lines += [
        f"{len(known)} photos of {len(recogniser.classes)} classes, {IMAGE_SIZE} pixels a side, {EPOCHS} epochs",
        f"train: network {training:.1f} s of processor ({clock:.0f} s on the clock), HOG + linear {hog_training:.1f} s",
        "",
    ]
    names = ["rows", "accuracy", "top5_accuracy", "macro_f1", "log_loss", "expected_calibration_error"]
    lines.append(f"{'':<34}" + "".join(f"{name.replace('expected_', ''):>20}" for name in names))
    for part, rows in (("held out, same shops", held_out), ("elsewhere", photos["elsewhere"])):
        if not rows.any():
            lines.append(f"{part}: no photos")
            continue
        for model_name, model in (("network", recogniser), ("HOG + linear", baseline)):
            measured = recognition_metrics(
                photos["label"][rows].tolist(), model.probabilities(photos["image"][rows].tolist()), model.classes
            )
            figures = [f"{measured[name]:.0f}" if name == "rows" else f"{measured[name]:.3f}" for name in names]
            lines.append(f"{part + ', ' + model_name:<34}" + "".join(f"{figure:>20}" for figure in figures))
    answer = recogniser.predict(photos["image"][held_out].tolist())
    right = (answer["label"] == photos["label"][held_out].to_numpy()).to_numpy()
    lines += ["", f"held out, called unknown: {answer['is_unknown'].mean():.3f}"]
    lines.append(
        f"  of those recognised rightly {answer['is_unknown'][right].mean():.3f}, "
        f"wrongly {answer['is_unknown'][~right].mean():.3f}"
    )
    if GROCERY.is_dir():
        strange = recogniser.predict(unknown_photos(set(photos["label"])))
        uncertainty = -np.concatenate([answer["score"], strange["score"]])
        is_strange = np.repeat([False, True], [len(answer), len(strange)])
        area = detection_metrics(is_strange, uncertainty, 0.0)["auc_roc"]
        lines.append(
            f"{len(strange)} photos of classes never taught, called unknown: {strange['is_unknown'].mean():.3f}"
        )
        lines.append(f"  AUC-ROC of the score, unknown against held out: {area:.3f}")
    else:
        lines.append(f"unknown classes: not measured, {GROCERY.name} is absent from BENCH_DATA")
    one = photos["image"].iloc[:1].tolist()
    recogniser.predict(one)
    _, single, _ = timed(lambda: [recogniser.predict(one) for _ in range(50)])
    _, many, _ = timed(lambda: recogniser.predict(photos["image"].tolist()))
    lines += [
        "",
        f"predict: one photo {single / 50 * 1000:.1f} ms, {len(photos)} photos {many / len(photos) * 1000:.1f} ms each",
        f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB",
    ]
    print("\n".join(lines))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
