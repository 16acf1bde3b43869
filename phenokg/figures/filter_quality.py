"""How well a filter keeps what is medical: precision and recall, each with its interval."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_Z = 1.959964  # of the normal distribution, for 95 %


@dataclass(frozen=True, slots=True)
class Share:
    """A share of images, and its 95 % interval; a share of no images is not a number.

    Attributes:
        value: 0 to 1.
        low: Lower end of Wilson's interval.
        high: Upper end.
        n: Of how many images.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f}, n = {self.n:,})"


@dataclass(frozen=True, slots=True)
class FilterQuality:
    """Of a filter that keeps what it takes for medical.

    Attributes:
        precision: Medical among the kept; depends on how many of the images are medical.
        recall: Kept among the medical.
        specificity: Left out among the others.
    """

    precision: Share
    recall: Share
    specificity: Share


def filter_quality(is_medical: NDArray[np.bool_], is_kept: NDArray[np.bool_]) -> FilterQuality:
    """Precision, recall and specificity of what was kept.

    Args:
        is_medical: (N,), the truth.
        is_kept: (N,), what the filter says.

    Example:
        >>> quality = filter_quality(np.array([True, True, False]), np.array([True, False, False]))
        >>> quality.precision.value, quality.recall.value, quality.specificity.value
        (1.0, 0.5, 1.0)
    """
    is_medical, is_kept = np.asarray(is_medical, bool), np.asarray(is_kept, bool)
    hits = int((is_medical & is_kept).sum())
    return FilterQuality(
        precision=wilson_share(hits, int(is_kept.sum())),
        recall=wilson_share(hits, int(is_medical.sum())),
        specificity=wilson_share(int((~is_medical & ~is_kept).sum()), int((~is_medical).sum())),
    )


def wilson_share(count: int, n: int) -> Share:
    """A share with Wilson's interval, which stays right near 0 and 1 (Wilson 1927, doi 10.2307/2276774).

    It takes images for independent: where they come in clusters, or several from an article, the truth is wider.
    """
    if n == 0:
        return Share(math.nan, math.nan, math.nan, 0)
    share, spread = count / n, _Z * _Z / n
    middle = (share + spread / 2) / (1 + spread)
    reach = _Z * math.sqrt(share * (1 - share) / n + spread / (4 * n)) / (1 + spread)
    return Share(share, min(share, max(0.0, middle - reach)), max(share, min(1.0, middle + reach)), n)
