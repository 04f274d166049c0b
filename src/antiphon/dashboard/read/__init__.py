"""Fast readers of run folders: results are cached by file stamp, and damaged files are reported, not fatal."""
