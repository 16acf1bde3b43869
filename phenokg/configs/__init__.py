"""One YAML file a way to build PhenoKG."""
