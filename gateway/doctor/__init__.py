"""A diagnosis from outside: each part of the installation looked at, and for what is wrong a fix in words."""
