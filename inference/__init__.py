"""What a saved model is used for."""
