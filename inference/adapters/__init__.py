"""Models of others behind the two calls of our own encoder: one class a family, one file a class."""
