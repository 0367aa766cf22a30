"""Readings from a pipe, through the detectors and the CRM side in one process: nothing is stored, nobody is told."""
