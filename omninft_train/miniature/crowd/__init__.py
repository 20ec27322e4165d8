"""The second miniature world: three shapes bounce, and one of them sounds.

Who is there, in which colours, is told to the video stream alone. Which of them sounds, and how quickly it bounces, is
told to the audio stream alone; the pitch follows from the colour of the shape that sounds, and is told to neither. So
each stream needs the other through cross-attention, and of the other only what belongs to that shape.
"""
