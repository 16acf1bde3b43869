"""An HPO release in, typed terms and their graph out."""
