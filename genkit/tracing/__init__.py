"""Find out by small forwards what the models of a pipeline do: which attention sees the video, where its tokens are."""
