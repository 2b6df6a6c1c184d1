"""The parts of scripts/bench: programs it starts, and what it measures."""
