"""The command line: one file a command, found through the entry points ``careloop.commands``."""
