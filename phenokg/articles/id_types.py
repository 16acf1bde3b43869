"""What `pub-id-type` calls PMC's own id of an article."""

#: As PMC's exports have named it over the years; "pmcaiid" counts versions and is another number.
PMCID_TYPES = ("pmcid", "pmc", "pmcid-ver", "pmc-uid", "pmcaid")
