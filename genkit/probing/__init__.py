"""Measure a sparse plug-in layer by layer and choose a setting for each."""
