"""Vision transformers behind one small interface. What needs torch lies in `pipeline.encoders.encoder`."""

from pipeline.encoders.spec import EncoderSpec

__all__ = ["EncoderSpec"]
