"""The front doors: where readings come in, and where their acknowledgements go out."""
