"""The whole path of the data on real servers, checked."""
