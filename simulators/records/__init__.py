"""A benchmark of labelled records of machines: many sensors, seconds to minutes apart, and where they are faulty."""
