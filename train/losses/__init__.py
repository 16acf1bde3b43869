"""One loss per file; a loss takes embeddings and a scale, never the model or a config."""
