"""A page to try a saved model in a browser: images to phenotypes and back, maps, the tree, two models side by side."""
