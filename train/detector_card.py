"""The model card of a trained subfigure detector."""

from collections.abc import Mapping

_CARD = """---
license: other
license_name: research-use
library_name: transformers
pipeline_tag: object-detection
tags:
- subfigure-detection
- compound-figures
---

# Subfigure detector

Finds the subfigures of a compound figure: one box for each image of which the figure is made. It was trained on
figures pasted from single images in the layouts of real ones, so that every box is known.

## Use

```python
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForObjectDetection

folder = "."  # this folder, or the id of a Hub repository
processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
model = AutoModelForObjectDetection.from_pretrained(folder).eval()
outputs = model(**processor(images=Image.open("figure.png").convert("RGB"), return_tensors="pt"))
scores = outputs.logits.sigmoid()[..., 0]  # of each query; not the softmax of the processor's own post-processing
boxes = outputs.pred_boxes  # centre and size in shares of the image
```

As a back end of `phenolip kg run detect_subfigures` its boxes are also cleaned of copies and put in reading order.

## Measured

{measured}

## Intended use and limits

Research use only: construction of image-text data from articles whose licences allow it. It is not a medical device
and looks at the layout of a page, not at findings. It has seen pasted figures: drawn arrows across borders, plots and
diagrams beside images, and figures with more subfigures than it has queries ({num_queries}) are new to it. Look at a
sample of its boxes before they are used.

## Training

Started from {start}. Settings of the run and revision of the data: run.yaml and run.json.

## Licence and sources

The weights carry the terms of the images that the figures were made from, and of the checkpoint that training began
from. The architecture is that named in config.json; DAB-DETR: Liu et al., 2022, arXiv 2201.12329.
"""


def write_card(metrics: Mapping[str, float], *, num_figures: int, num_queries: int, start: str) -> str:
    """Text of README.md.

    Args:
        metrics: Values on held-out figures by name; empty where nothing was measured.
        num_figures: How many figures they come from.
        num_queries: Of the model.
        start: What training began from, in words.
    """
    measured = "Not measured: the run was given no held-out figures."
    if metrics:
        rows = "\n".join(f"| {name} | {value:.3f} |" for name, value in metrics.items())
        measured = (
            f"On {num_figures} held-out figures; precision, recall and F1 are counted over all boxes at an IoU of "
            f"0.75, one to one.\n\n| metric | value |\n|---|---|\n{rows}"
        )
    return _CARD.format(measured=measured, num_queries=num_queries, start=start)
