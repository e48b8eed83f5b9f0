"""What is a page's own: a module per question with `page(result)`, which returns the whole page."""
