"""Language models behind one seam: any OpenAI-compatible endpoint, any `transformers` model, answers kept on disk."""
