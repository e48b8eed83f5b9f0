"""How an answer is made: settings -> runs -> cached files -> distances."""
