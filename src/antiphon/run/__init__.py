"""One training run: its components, the loop, and what follows each step."""
