"""What to do about a problem: which actions are possible, which is best, and how often each has helped."""
