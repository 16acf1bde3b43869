"""Ranks phenotypes for images with a saved model: python examples/classify.py MODEL IMAGE_OR_FOLDER ...

For research, not for diagnosis.
"""

import sys

from phenolip.inference.image_files import image_files
from phenolip.inference.predict import RESEARCH_ONLY, PhenotypePredictor

model, *images = sys.argv[1:]
predictor = PhenotypePredictor.from_pretrained(model)
files = image_files(images)
for file, rows in zip(files, predictor(files, top=3), strict=True):
    print(file, "; ".join(f"{row.name} ({row.hpo_id}) {row.probability:.2f}" for row in rows))
print(RESEARCH_ONLY)
