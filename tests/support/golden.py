"""What the golden text models are asked."""

TEXTS = ["a splendid , warm and clever film", "dull , cold and grim", "ünïcödé 电影 🎬", "film 7 was moving"]
