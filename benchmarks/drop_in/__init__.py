"""Programs written with Flax alone, which run with jaxrnn's layers once one import is changed."""
