"""Article XML, ids, licences and media: reading JATS and the bucket of PMC's open-access articles."""
