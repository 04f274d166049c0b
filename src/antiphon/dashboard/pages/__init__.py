"""The dashboard's pages. Each module has `register(root)`, which declares its routes for the folder of runs `root`."""
