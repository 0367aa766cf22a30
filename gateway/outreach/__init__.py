"""The CRM side of a running gateway, in a process of its own: cases do not wait for batches, nor batches for cases."""
