"""The dashboard: shows runs, their metrics and completions in a browser. It reads run folders only."""
