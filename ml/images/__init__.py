"""Which product a photo shows."""

from ml.images.recogniser import HogBaseline, Recogniser, decode, hog_baseline, train, why_unusable

__all__ = ["HogBaseline", "Recogniser", "decode", "hog_baseline", "train", "why_unusable"]
