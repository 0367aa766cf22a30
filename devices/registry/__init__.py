"""The registry: devices, what they sign in with, their assets, owners and grants."""
