"""How good masks are: scores, the simulated annotator, baselines, reports."""
