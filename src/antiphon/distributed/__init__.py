"""Where computation happens: devices, and the processes of a run."""
