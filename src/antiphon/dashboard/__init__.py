"""Runs in a browser: what trains, how it goes, and what the models say. Reads run folders and nothing else."""
