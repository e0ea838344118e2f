"""Places to take lost bytes from, each as a repair uses it."""
