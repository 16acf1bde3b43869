"""Construction of PhenoKG from articles, one step per file, each with one public `run(records, config)`."""
