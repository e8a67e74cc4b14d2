"""From texts and chats to packed token shards, and back to batches."""
