"""Adapts a saved model to your own pairs with LoRA: python examples/adapt_with_lora.py MODEL DATA OUTPUT ...

It ends with predictions of the adapted model. Further settings of train/stage2.py may follow, such as --max_steps 20.
For research, not for diagnosis.
"""

import sys
from pathlib import Path

from phenolip.inference.image_files import image_files
from phenolip.inference.predict import PhenotypePredictor
from phenolip.train import stage2

model, data, output, *settings = sys.argv[1:]
config = Path(stage2.__file__).parent / "configs" / "adapt.yaml"
stage2.main(["--config", str(config), "--init_from", model, "--data", data, "--output_dir", output, *settings])
files = image_files([data])[:3]
for file, (best,) in zip(files, PhenotypePredictor.from_pretrained(output)(files, top=1), strict=True):
    print(file, best.name, best.hpo_id)
