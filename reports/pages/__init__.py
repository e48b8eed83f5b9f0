"""Pages: a module per question with what only its page has, and `page(result)`, which returns the whole page."""
