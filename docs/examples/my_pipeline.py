"""A pipeline of diffusers for `check-sampler --guided my_pipeline:pipeline`: see ../samplers.md.

It needs `pip install diffusers transformers`, but no weights, text encoders or VAE.
"""

from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline, UNet2DConditionModel

blocks = {"down_block_types": ("CrossAttnDownBlock2D",), "up_block_types": ("CrossAttnUpBlock2D",)}
unet = UNet2DConditionModel(16, block_out_channels=(8,), norm_num_groups=2, cross_attention_dim=32, **blocks)
missing = dict.fromkeys(("vae", "text_encoder", "tokenizer", "safety_checker", "feature_extractor"))
scheduler = EulerDiscreteScheduler(steps_offset=1)
pipe = StableDiffusionPipeline(unet=unet, scheduler=scheduler, requires_safety_checker=False, **missing)


def pipeline(network, n_steps, noise, scale, prompt, negative):
    pipe.unet.forward = network.forward
    inputs = {"prompt_embeds": prompt, "negative_prompt_embeds": negative, "latents": noise, "guidance_scale": scale}
    size = {"height": 128, "width": 128, "output_type": "latent"}
    return pipe(num_inference_steps=n_steps, **inputs, **size).images
