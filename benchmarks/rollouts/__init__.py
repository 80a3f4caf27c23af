"""Rules for deciding a canary, side by side: how often each is wrong, how late it is right, and what that costs."""
