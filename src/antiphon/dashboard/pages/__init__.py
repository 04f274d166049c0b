"""The dashboard's pages. Each module's `register(root)` declares its routes for the runs in `root`."""
