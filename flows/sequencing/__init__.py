"""T updates on one model by one method after another: what is learned, and what it costs."""
