"""What LLA is compared with, one file a family."""
