"""What answers a question: probes to a vector, a vector to hits."""
