"""Quality of predictions by labels, for each kind of prediction, with intervals. Pure: no store, no clock."""

from sabia.monitoring.quality.binary import Bin, Quality, measure
from sabia.monitoring.quality.classes import ClassQuality, ClassScore, measure_classes
from sabia.monitoring.quality.estimates import Estimate, difference, mean, share
from sabia.monitoring.quality.values import Residuals, ValueQuality, measure_values

__all__ = [
    "AnyQuality",
    "Bin",
    "ClassQuality",
    "ClassScore",
    "Estimate",
    "Quality",
    "Residuals",
    "ValueQuality",
    "difference",
    "mean",
    "measure",
    "measure_classes",
    "measure_values",
    "share",
]

AnyQuality = Quality | ClassQuality | ValueQuality
