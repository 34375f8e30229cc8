"""The problem definition: tensor specs, dtypes, symbols and the checks of real tensors. Pure."""
