"""The words in which agents and owners are told, in each language; a company may put its own in their place."""
