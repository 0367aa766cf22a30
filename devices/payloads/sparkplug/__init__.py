"""The codec `sparkplug`: Eclipse Sparkplug B (specification 3.0), as a host application reads it."""

from devices.payloads.sparkplug.codec import SparkplugCodec

__all__ = ["SparkplugCodec"]
