"""Everything about an account that goes through the post: registering, proving, recovering it."""
