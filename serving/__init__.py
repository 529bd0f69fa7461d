"""What listens on this machine: the endpoint that speaks, its page, and what all such servers share. Prints nothing."""
