"""Models whose data are the weights of fields."""
