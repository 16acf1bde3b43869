"""Which figures are medical: image features, clusters, the head, and figures drawn to test it."""
