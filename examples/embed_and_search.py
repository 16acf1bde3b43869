"""Embeds a folder of image-caption pairs and searches it: python examples/embed_and_search.py MODEL DATA INDEX "words"

The same command again finds what is embedded and only searches. For research, not for diagnosis.
"""

import sys

from phenolip.cli import main

model, data, index, words = sys.argv[1:]
code = main(["embed", "--model", model, "--data", data, "--output", index])
sys.exit(code or main(["search", index, "--text", words, "--top", "5"]))
