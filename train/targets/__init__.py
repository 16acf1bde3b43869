"""One target builder per file: which texts of a batch count as matches of which images."""
