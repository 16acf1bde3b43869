"""What a subfigure detector is trained for: the loss of its own model, a batch at a time."""

import torch
from torch import nn


class DetectorObjective(nn.Module):
    """The set prediction loss that comes with a detector of the DETR family.

    Each box of a figure is matched to one query by the Hungarian method; matched queries learn box (L1 and generalised
    IoU) and score, the others that they hold nothing. Of DAB-DETR (Liu et al., 2022, arXiv 2201.12329) the score is
    learnt by focal loss.

    Args:
        model: A `transformers` model for object detection with one label.
        pixel_mean: Of the image processor, for values from 0 to 1.
        pixel_std: Likewise.

    Shapes (n images, K boxes at most):
        batch: pixels (n, 3, S, S) uint8; boxes (n, K, 4), centre and size in shares; num_boxes (n,).
        returns: scalars; "loss" is the sum that is optimised, the others its unweighted parts at the last layer.
    """

    def __init__(self, model: nn.Module, *, pixel_mean: list[float], pixel_std: list[float]) -> None:
        super().__init__()
        self.model = model
        self.pixel_mean = nn.Buffer(torch.tensor(pixel_mean).view(1, 3, 1, 1), persistent=False)
        self.pixel_std = nn.Buffer(torch.tensor(pixel_std).view(1, 3, 1, 1), persistent=False)

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The loss of one batch and its parts."""
        pixel_values = (batch["pixels"].float() / 255 - self.pixel_mean) / self.pixel_std
        labels = [
            {"class_labels": boxes.new_zeros(int(number), dtype=torch.int64), "boxes": boxes[: int(number)]}
            for boxes, number in zip(batch["boxes"], batch["num_boxes"].tolist(), strict=True)
        ]
        outputs = self.model(pixel_values=pixel_values, labels=labels)
        parts = {"score": "loss_ce", "box": "loss_bbox", "overlap": "loss_giou"}
        return {"loss": outputs.loss, **{name: outputs.loss_dict[key].detach() for name, key in parts.items()}}
