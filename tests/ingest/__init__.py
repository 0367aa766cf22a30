"""What the tests of the pipeline and the store share."""
