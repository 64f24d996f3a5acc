"""What a model is: its numbers, its text, its files, its name, and where it is kept."""
