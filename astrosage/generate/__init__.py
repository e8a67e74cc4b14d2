"""Question-answer pairs, reasoning traces and benchmark questions, written by a served model."""
