"""Taking rows out of everything that was made of them: tables, images, embeddings, indexes, caches and pages."""
