"""What readers see: generations, live stock, and both brought together after a restore."""
