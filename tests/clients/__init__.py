"""Devices on MQTT clients that were not written here, all behind one interface."""
