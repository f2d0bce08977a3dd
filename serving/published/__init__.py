"""Published generations, as readers open them."""
