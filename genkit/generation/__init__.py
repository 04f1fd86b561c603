"""One run of a pipeline with plug-ins: apply, watch, report."""
