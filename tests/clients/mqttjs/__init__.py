"""MQTT.js, and the device that speaks with it."""
