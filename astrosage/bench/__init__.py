"""An honest score: multiple-choice questions, perplexity, and what both cost."""
