"""Features of a frozen vision tower for several views of every image, kept on disk."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from tqdm.auto import tqdm

from phenolip.provenance import content_hash
from phenolip.train.data import ImageTextPairs, Key
from phenolip.train.teacher import module_fingerprint


class CachedViews:
    """Stage 2 samples of a frozen tower: one of the stored views of an image, its row number and the epoch.

    The views of an image are its augmentations in the first `num_views` epochs of `pairs`; an epoch draws one of them.

    Args:
        views: V arrays (N, D) float, features of each view of N images; memory-mapped ones are read row by row.
        seed: With epoch and row, fixes the draw.
    """

    def __init__(self, views: Sequence[np.ndarray], *, seed: int) -> None:
        self.views, self.seed = views, seed

    def __len__(self) -> int:
        return len(self.views[0])

    def __getitem__(self, key: Key) -> dict[str, Any]:
        epoch, row = key
        view = np.random.default_rng([self.seed, epoch, row]).integers(len(self.views))
        return {"row": row, "epoch": epoch, "image_pooled": np.array(self.views[view][row], dtype=np.float32)}


def cached_image_features(
    vision_model: torch.nn.Module,
    pairs: ImageTextPairs,
    revision: list[str],
    *,
    pixel_mean: list[float],
    pixel_std: list[float],
    num_views: int,
    cache_dir: Path,
    precision: str = "no",
    batch_size: int = 32,
) -> list[np.ndarray]:
    """Pooled features of every row's views; computed once for a tower, its data and their augmentation.

    Written view by view: an interrupted run goes on with the next view. Processes may share a folder: one encodes a
    view while the others wait for it.

    Args:
        vision_model: PhenoLIPVisionModel on the device that encodes.
        pairs: Source of the augmented images; `num_views` of its epochs are taken.
        revision: Hashes of the image files, in the order of the rows.
        pixel_mean, pixel_std: Of each channel, for pixels from 0 to 1.
        num_views: Views of each image, 1 or more.
        cache_dir: Where the features are kept.
        precision: "bf16" encodes in bfloat16, else float32.
        batch_size: Images encoded together.

    Returns:
        For each view (N, D) float32, memory-mapped.
    """
    settings = [pairs.image_size, pairs.first_image_size, pairs.num_first_epochs, pairs.min_crop_area]
    settings += [pairs.color_jitter, pairs.seed, *pixel_mean, *pixel_std, precision]
    settings += ["grayscale"] if pairs.grayscale else []
    settings += ["reduced_decoding"] if pairs.reduced_decoding else []
    key = content_hash([module_fingerprint(vision_model.tower), *map(str, settings), *revision])[:16]
    folder = Path(cache_dir) / f"image-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    views = []
    for view in range(num_views):
        path = folder / f"view_{view:03d}.npy"
        with FileLock(folder / ".lock"):
            if not path.exists():
                features = _encode_view(vision_model, pairs, view, (pixel_mean, pixel_std), precision, batch_size)
                partial = folder / f".{path.stem}.{os.getpid()}.npy"
                np.save(partial, features, allow_pickle=False)
                os.replace(partial, path)
        views.append(np.load(path, mmap_mode="r", allow_pickle=False))
    return views


@torch.no_grad()
def _encode_view(
    vision_model: torch.nn.Module,
    pairs: ImageTextPairs,
    view: int,
    mean_std: tuple[list[float], list[float]],
    precision: str,
    batch_size: int,
) -> np.ndarray:
    device = next(vision_model.parameters()).device
    mean, std = (255 * torch.tensor(values, device=device).view(1, -1, 1, 1) for values in mean_std)
    was_training = vision_model.training
    vision_model.eval()
    features = []
    for start in tqdm(range(0, len(pairs), batch_size), desc=f"image view {view}", unit="batch", dynamic_ncols=True):
        rows = range(start, min(start + batch_size, len(pairs)))
        images = [pairs[(view, row)]["image"] for row in rows]
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            output = vision_model((pixels.float() - mean) / std)
        features.append(output.pooler_output.float().cpu().numpy())
    vision_model.train(was_training)
    return np.concatenate(features)
