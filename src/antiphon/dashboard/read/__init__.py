"""Fast readers of run folders: parsed once, kept by the file's stamp, and never stopped by a damaged file."""
