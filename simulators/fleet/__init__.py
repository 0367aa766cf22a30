"""A simulated fleet: persons with habits, products with physics, labelled faults, and a network that misbehaves."""
