"""The part of a callback that is the same in every framework."""
