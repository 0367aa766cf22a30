"""What tests of backtests have in common."""
