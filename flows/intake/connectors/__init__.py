"""What a drop may be, one file a format. A connector turns foreign rows into Records' JSON."""
