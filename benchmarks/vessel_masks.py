"""Masks of retinal vessels by a filter, for fundus images that come without a drawn one.

python benchmarks/vessel_masks.py --data retina_vessels/DRIVE --output runs/vessels

OUTPUT gets train/ and test/ with images/ and masks/, which the task `segmentation` reads. The masks are no annotation:
they say where a multi-scale Hessian filter sees a dark line, so that a Dice with them says how well an encoder carries
fine structure, and nothing of physicians.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from phenolip.images import IMAGE_SUFFIXES, decode_image

SCALES_PX = (1.0, 1.5, 2.0, 2.5)
SHARE = 0.11  # of the field of view; drawn masks of such images cover about as much
FOLDERS = {"training": "train", "test": "test"}


def main() -> None:
    """Copies each image as PNG beside its mask."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder with training/images and test/images")
    parser.add_argument("--output", required=True, type=Path, help="folder for images and masks")
    args = parser.parse_args()
    for source, target in FOLDERS.items():
        folders = [args.output / target / name for name in ("images", "masks")]
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        paths = sorted(path for path in (args.data / source / "images").iterdir() if path.suffix in IMAGE_SUFFIXES)
        for path in paths:
            picture = decode_image(path)
            picture.save(folders[0] / f"{path.stem}.png")
            Image.fromarray(vessel_mask(np.asarray(picture)).astype(np.uint8) * 255).save(
                folders[1] / f"{path.stem}.png"
            )
        print(f"{target}: {len(paths)} images")


def vessel_mask(picture: np.ndarray) -> np.ndarray:
    """(H, W, 3) fundus image -> (H, W) the darkest lines of its field of view.

    The strength of a line is the larger eigenvalue of the Hessian of the green channel, times the scale squared, the
    largest over scales (Frangi et al. 1998, without its blob terms).
    """
    green = picture[..., 1].astype(np.float64)
    view = ndimage.binary_erosion(picture.max(axis=-1) > 40, iterations=6)
    strength = np.max([_line_strength(green, scale) for scale in SCALES_PX], axis=0)
    strength[~view] = 0
    lines = (strength >= np.quantile(strength[view], 1 - SHARE)) & view
    labels, num = ndimage.label(lines, structure=np.ones((3, 3)))
    sizes = ndimage.sum_labels(lines, labels, np.arange(num + 1))
    return lines & (sizes >= 40)[labels]  # specks of noise are no vessels


def _line_strength(values: np.ndarray, scale: float) -> np.ndarray:
    rows, columns, mixed = (ndimage.gaussian_filter(values, scale, order=order) for order in ((2, 0), (0, 2), (1, 1)))
    return scale**2 * ((rows + columns) / 2 + np.hypot((rows - columns) / 2, mixed))


if __name__ == "__main__":
    main()
