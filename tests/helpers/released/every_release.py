"""Configurations of released checkpoints as documentation and conversion scripts show them, with their sources."""

from released.conditioned_releases import CONDITIONED
from released.hunyuan_releases import HUNYUAN
from released.ltx_releases import LTX
from released.other_releases import OTHERS
from released.release import Released
from released.unet_releases import UNETS
from released.wan_releases import WAN
from released.world_releases import COSMOS_KANDINSKY

RELEASED: tuple[Released, ...] = (*WAN, *CONDITIONED, *HUNYUAN, *LTX, *COSMOS_KANDINSKY, *OTHERS, *UNETS)
