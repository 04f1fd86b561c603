"""What a user gives besides the prompt: images, videos, masks, read from files or arrays and brought to size."""
