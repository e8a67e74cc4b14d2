"""What more data would buy: a recipe on nested parts of its corpus, and the curve through them."""
