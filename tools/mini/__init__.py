"""The embedded model: the world it is trained on, and how it is trained, graded and exported."""
