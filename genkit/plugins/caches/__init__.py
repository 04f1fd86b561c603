"""Step caches: diffusers' own, as plug-ins."""
