"""Words of a text against wordings of the ontology, and what the text asserts of them."""
