"""The second miniature world: three shapes bounce, and one of them sounds.

Prompts are told to the audio stream alone: the video stream learns through cross-attention who is there, in which
colours, which of them sounds and how quickly it bounces. So much of the video loss is a matter of the audio stream,
and a wish for a better picture can spoil the sound. The shape that sounds has a warm colour and the others have cool
ones, so that a small network can find it; only its contacts are heard.
"""
