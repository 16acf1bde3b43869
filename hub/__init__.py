"""Models at home elsewhere: converters from and to open_clip, exports to ONNX and sentence-transformers."""
