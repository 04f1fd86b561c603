"""The plug-ins of this package: name, and module and class. Nothing heavy is imported here."""

PLUGINS = {
    "adaspa": "genkit.plugins.sparse.adaspa:AdaSpa",
    "fifo": "genkit.plugins.longer.fifo:FIFO",
    "first-block-cache": "genkit.plugins.caches.methods:FirstBlockCache",
    "frame-anchors": "genkit.plugins.sparse.frame_anchors:FrameAnchors",
    "freelong": "genkit.plugins.longer.freelong:FreeLong",
    "freenoise": "genkit.plugins.longer.freenoise:FreeNoise",
    "mag-cache": "genkit.plugins.caches.methods:MagCache",
    "pab": "genkit.plugins.caches.methods:PyramidAttentionBroadcast",
    "position-interpolation": "genkit.plugins.longer.position_interpolation:PositionInterpolation",
    "radial": "genkit.plugins.sparse.radial:Radial",
    "riflex": "genkit.plugins.longer.riflex:RIFLEx",
    "sliding-tile": "genkit.plugins.sparse.sliding_tile:SlidingTile",
    "sparge": "genkit.plugins.sparse.sparge:SpargeAttention",
    "stream-decode": "genkit.plugins.longer.stream_decode:StreamDecode",
    "svg": "genkit.plugins.sparse.svg:SVG",
    "svg2": "genkit.plugins.sparse.svg2:SVG2",
    "taylor-seer": "genkit.plugins.caches.methods:TaylorSeer",
    "threshold": "genkit.plugins.sparse.threshold:Threshold",
    "timeline": "genkit.plugins.prompts.timeline:Timeline",
    "vmoba": "genkit.plugins.sparse.vmoba:VMoBA",
}
