"""What a run looks like: evidence from its record, pictures of it, one page with all."""
