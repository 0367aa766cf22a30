"""What the tests of the doors share: a pipeline that settles when told, and MQTT by hand."""
