"""Many videos: what is to be done, what is done already, and who does it: this process or the workers of a cluster.

`vivim.batch.run.run` yields events like every long job. One function does one video (`vivim.batch.process_video.do`),
here as on a worker.
"""
