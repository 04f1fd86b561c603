"""Tokens kept in a static order through all blocks of a model, where a trial has shown that it may be."""
