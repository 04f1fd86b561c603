"""What a model does in small forwards, against what its facts say."""
