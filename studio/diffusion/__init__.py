"""The torch room: nothing outside this folder imports torch, diffusers or transformers."""
