"""Vision transformers behind one small interface."""

from pipeline.encoders.encoder import Encoded, Encoder, EncoderSpec

__all__ = ["Encoded", "Encoder", "EncoderSpec"]
