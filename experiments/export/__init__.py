"""The recommended settings of `tune` in a form that can be pasted: code for torch alone and for diffusers."""
