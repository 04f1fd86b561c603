"""Parts of the embedded models that diffusers does not have, and the UNet made of its parts."""
