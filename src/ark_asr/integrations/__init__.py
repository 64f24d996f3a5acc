"""Other programs that speak with this one."""
