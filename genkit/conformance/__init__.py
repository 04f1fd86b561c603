"""What a pipeline does in short runs, against what its facts say."""
