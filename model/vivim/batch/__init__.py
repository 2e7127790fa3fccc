"""Many videos: what is to be done, what is done already, and who does it: this process or the workers of a cluster.

`run` yields events like every long job. One function does one video (`vivim.batch.process_video.do`), here as on a
worker.
"""

from vivim.batch.jobs import Exporting, Job, Outcome, Segmenting, Working
from vivim.batch.run import run

__all__ = ["Exporting", "Job", "Outcome", "Segmenting", "Working", "run"]
