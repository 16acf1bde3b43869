"""Captions: labels and their spans, sentences, and words that a rewritten caption may use."""
