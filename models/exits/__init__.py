"""Early exits: where a request may be answered before the last block, and when it is sure enough to be."""
