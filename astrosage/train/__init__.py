"""Continued pre-training and fine-tuning: Ray Train around a DeepSpeed engine."""
