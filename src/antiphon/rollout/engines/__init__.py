"""The engines that a recipe can name: a module each."""
