"""Images and recordings: where they come from and what is read of them."""
