"""Series with and without trouble, and short ways to judge them."""
