"""Settings of a training run."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Training of an embedded model."""

    batch: int = 48
    """Clips of native length in one step; shorter clips come in larger batches, single frames six times as many."""
    image_steps: int = 600
    """Steps on single frames before the clips."""
    learning_rate: float = 4e-3
    """Peak rate of Muon (matrices of the blocks); everything else learns with AdamW at a quarter of it."""
    warmup: int = 100
    """Steps until the peak rate."""
    sigma_shift: float = 7.0
    """Weight on high noise, where place and motion are decided: sigma = s u / (1 + (s - 1) u)."""
    text_dropout: float = 0.1
    """Share of captions replaced by the empty one."""
    ema: float = 0.995
    """Decay of the averaged weights that are shipped."""
    pairs: float = 0.75
    """Share of scenes with two things, which are harder."""
    events: float = 0.0
    """Share of scenes whose only thing turns into another."""
    lengths: tuple[float, ...] = (1.0,)
    """Lengths of clips in turn, as shares of the native one."""
    words: float = 0.1
    """Weight of the loss of reading each word's thing; see ``genkit.tiny.training.words``."""
    pool: int = 12_000
    """Rendered clips kept in memory; every step replaces ``fresh`` of them."""
    fresh: int = 12
    """New clips drawn in each step."""
    paths: int = 120
    """Maximum number of files of a teacher's paths; see ``genkit.tiny.training.few``."""
    compiled: bool = True
    """True to compile the model's blocks, which takes half a minute and saves a third of each step."""
    watch_every: int = 0
    """Steps between evaluations with the oracle on a few held-out prompts; 0 for none."""
    watched: int = 36
    """Held-out prompts of each of these evaluations."""

    def length(self, step: int) -> float:
        """Return the length of the clips of a step, as a share of the native one."""
        return self.lengths[step % len(self.lengths)]


CONFIGS = {
    ("tiny", 1): TrainConfig(),
    ("tiny", 2): TrainConfig(
        batch=24, pairs=0.5, events=0.3, lengths=(1.0, 0.5, 1.0, 0.75), pool=2000, fresh=8, ema=0.998, watch_every=1000
    ),
}
CONFIGS["tiny-unet", 2] = replace(CONFIGS["tiny", 2], image_steps=0, lengths=(1.0,), sigma_shift=2.0, pool=2000)
CONFIGS["tiny-few", 2] = replace(CONFIGS["tiny", 2], image_steps=0, learning_rate=1e-3, pool=48, fresh=48)
for _world in (1, 2):
    CONFIGS["decoder", _world] = TrainConfig(
        batch=6, image_steps=0, learning_rate=8e-3, pool=0, fresh=0, ema=0.995, watch_every=500
    )
"""Settings for each model and world."""
