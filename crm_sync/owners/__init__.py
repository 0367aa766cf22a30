"""What owners say, and what is known of what others say to them."""
