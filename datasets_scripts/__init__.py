"""Tables: their columns, how they are read and how they are built."""
