"""Facts of pipelines, by what they do: which model they run, what they take, which checkpoints were published."""
