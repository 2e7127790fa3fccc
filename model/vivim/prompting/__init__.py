"""Prompting: clicks, boxes, scribbles and masks to start from become the mask of one frame."""

from vivim.prompting.encoding import EncodedFrame, encode_frame, encode_session_frame
from vivim.prompting.prompted_frame import PromptedFrame
from vivim.prompting.prompts import Prompts

__all__ = ["EncodedFrame", "PromptedFrame", "Prompts", "encode_frame", "encode_session_frame"]
