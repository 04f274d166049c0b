"""The Python API: train, list checkpoints, serve and evaluate. Its names are those of `import antiphon`."""
