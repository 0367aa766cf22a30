"""A large fleet of which few fall ill, played through the real gateway: is the tenth case as true as the first?"""
